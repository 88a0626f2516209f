"""The container stack, made of what an engine can do: places, builders, brokers, services, companions."""
