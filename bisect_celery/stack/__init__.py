"""Where a tree runs: broker, worker and other services, as processes of this machine (`process`) or in containers."""
