"""The container engine, and only here its SDK: which one is meant, the way to it, what it is asked and told."""
