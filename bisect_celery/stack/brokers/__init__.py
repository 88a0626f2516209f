"""The session's broker, and each trial's namespace on it: installed RabbitMQ or Redis, or an emulated broker."""
