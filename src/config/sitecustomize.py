"""Puts the tree that is judged on python's path, behind python's own library.

What the product has had since before it was worked on is the product's. Of every other name python's
own library comes first, then what is installed, then the rest of the tree. So no new file of the
tree is taken for a part of python, or for something installed, by whoever is no file of the tree. A
script finds what lies beside it, as ever.
"""

import sys


def start(roots, own):
    import os

    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.abspath(path) != here]
    this = sys.modules.pop("sitecustomize", None)
    site = sys.modules.get("site")
    try:
        # The system's own and the user's are run as without this one.
        for name in ["sitecustomize", "usercustomize"]:
            try:
                if name == "sitecustomize" or getattr(site, "ENABLE_USER_SITE", None):
                    __import__(name)
            except ImportError:
                pass
    finally:
        # The product has none.
        sys.modules.setdefault("sitecustomize", this)
        sys.modules.setdefault("usercustomize", None)
        sys.path.extend(root for root in roots if root not in sys.path)
        by_path = [one for one in sys.meta_path if getattr(one, "__name__", "") == "PathFinder"]
        if by_path:
            place = sys.meta_path.index(by_path[0])
            sys.meta_path.insert(place, finder(os, by_path[0], roots, own))


def finder(os, by_path, roots, own):
    library = os.path.dirname(os.path.abspath(os.__file__))
    is_script = getattr(sys, "argv", [""])[:1] not in [[""], ["-"], ["-c"], ["-m"]]

    def lies(path):
        return os.path.abspath(path or os.getcwd())

    def is_library(path):
        below = path == library or path.startswith(library + os.sep) or path.endswith(".zip")
        return below and not path.rstrip(os.sep).endswith("-packages")

    class Finder(object):
        @staticmethod
        def find_spec(name, path=None, target=None):
            if path is not None or (is_script and sys.path and lies(sys.path[0]) in roots):
                return None
            # Of what is no script the first is the directory that it was started in.
            known = sys.path if is_script else sys.path[1:]
            elsewhere = [path for path in known if lies(path) not in roots]
            if name in own:
                library = [at for at, path in enumerate(elsewhere) if is_library(lies(path))]
                first = library[0] if is_script and library else 0
                elsewhere[first:first] = roots
            return by_path.find_spec(name, elsewhere, target)

    return Finder


