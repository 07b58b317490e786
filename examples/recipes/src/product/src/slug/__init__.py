from anyascii import anyascii


def slug(title: str) -> str:
    return anyascii(title).replace(" ", "-")
