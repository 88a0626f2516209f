"""Settings that are filled in by whoever is imported first."""


class Lazy:
    def __getattr__(self, name):
        return getattr(self.filled, name)


settings = Lazy()
