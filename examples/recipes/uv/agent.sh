# What is installed is there, and works; what is not can be had.
uv run --no-sync pytest -q
uv add --quiet anyascii==0.3.3
cat > slug/__init__.py <<'END'
import re

from anyascii import anyascii


def slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", anyascii(title).lower()).strip("-")
END
cat >> tests/test_slug.py <<'END'


def test_what_is_no_letter_is_left_out():
    assert slug("Crème Brûlée, twice!") == "creme-brulee-twice"
END
uv run --no-sync pytest -q
