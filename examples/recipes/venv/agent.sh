# What is installed is there, and works.
.venv/bin/python -m pytest -q
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
.venv/bin/python -m pytest -q
