import sys

from slug import slug


def main() -> None:
    print(slug(sys.argv[1]))
