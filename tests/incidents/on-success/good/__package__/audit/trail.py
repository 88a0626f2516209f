noted = []


def note(identity):
    noted.append(identity)
