"""What stands beside the broker: one protocol, and servers of this machine, from installed programs."""
