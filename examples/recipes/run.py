#!/usr/bin/env python3
"""Runs the recipes of docs/recipes.md, as they stand there.

usage: run.py [--bin DIRECTORY] [--keep] [RECIPE...]

Of each recipe it writes the files that the document shows into a fresh repository, beside the small product in
product/ of the recipe's directory here, runs the commands that are meant to be run once by hand, and lets `iterate`
go from the product as it was found to convergence. In place of codex a script takes the turn, agent.sh of that
directory: one line of the settings is another then, and nothing else. What a tool is missing for is installed into
target/recipes, or left out and said.

Ends with 0 where each recipe that was run did what it should, 1 where one did not, 2 where there is no such recipe.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
DOCUMENT = ROOT / "docs" / "recipes.md"
TOOLS = ROOT / "target" / "recipes"
UV = "0.13.8"
PNPM = "10.34.8"

# The recipe's heading, what says how to run it, what names a file, what is run once.
HEADING = re.compile(r"^## ")
NAMED = re.compile(r"^`make recipes RECIPE=([a-z-]+)`")
FILE = re.compile(r"^`([^`]+)`:$")
BY_HAND = "Once, by hand:"
FENCE = re.compile(r"^(`{3,})(\w*)$")
BACKEND = "  backend: codex\n"


class Skipped(Exception):
    """The machine has not what the recipe needs, and can't get it."""


class Failed(Exception):
    """The recipe did not do what it should."""


class Recipe:
    def __init__(self):
        self.files = {}
        self.by_hand = []


def read_recipes():
    """Returns what all recipes share, and the recipes by name, in the order of the document."""
    shared, recipes = Recipe(), {}
    recipe, said = shared, ""
    lines = iter(enumerate(DOCUMENT.read_text().splitlines(), 1))
    for number, line in lines:
        if HEADING.match(line):
            recipe = shared
        elif found := NAMED.match(line):
            recipe = recipes.setdefault(found[1], Recipe())
        elif found := FENCE.match(line):
            text = ""
            for _, line in lines:
                if line == found[1]:
                    break
                text += line + "\n"
            where = f"{DOCUMENT.name}:{number}"
            if said == BY_HAND:
                recipe.by_hand.append(text)
            elif (name := FILE.match(said)) and name[1] in recipe.files:
                sys.exit(f"{where}: {name[1]} again; does its part say `make recipes RECIPE=NAME`?")
            elif name:
                recipe.files[name[1]] = text
            else:
                sys.exit(f"{where}: the line before the fence is neither `FILE`: nor {BY_HAND}")
        if line.strip():
            said = line.strip()
    return shared, recipes


def run(argv, **more):
    return subprocess.run(argv, check=False, stdin=subprocess.DEVNULL, **more).returncode


def has(*programs):
    return all(shutil.which(program) for program in programs)


def need(*programs):
    missing = [program for program in programs if not has(program)]
    if missing:
        raise Skipped(f"not installed: {', '.join(missing)}")


def need_debian(program, package):
    """Installs a package of Debian where the program is missing, as root."""
    if has(program):
        return
    if os.geteuid() != 0 or not has("apt-get"):
        raise Skipped(f"{program} is not installed, and installing {package} needs root and apt-get")
    more = {"stdout": subprocess.DEVNULL, "env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}}
    if run(["apt-get", "install", "-qy", "--no-install-recommends", package], **more):
        run(["apt-get", "update", "-q"], **more)
        if run(["apt-get", "install", "-qy", "--no-install-recommends", package], **more):
            raise Skipped(f"{program} is not installed, and apt-get could not install {package}")


def need_python():
    need("python3")
    if run(["python3", "-c", "import venv, ensurepip"], stderr=subprocess.DEVNULL):
        need_debian("python3-venv", "python3-venv")


def need_uv():
    need_python()
    place = TOOLS / f"uv-{UV}"
    if not (place / "bin" / "uv").exists():
        if run(["python3", "-m", "venv", str(place)]) or run(
            [str(place / "bin" / "pip"), "install", "--quiet", f"uv=={UV}"]
        ):
            raise Failed(f"uv {UV} could not be installed from PyPI")
    # The environment that it came in has a python of its own, which is not to be found.
    alone = TOOLS / f"uv-{UV}-alone" / "bin"
    alone.mkdir(parents=True, exist_ok=True)
    if not (alone / "uv").exists():
        shutil.copy(place / "bin" / "uv", alone / "uv")
    return [alone]


def need_node():
    need("node", "npm")


def need_pnpm():
    need_node()
    place = TOOLS / f"pnpm-{PNPM}"
    if not (place / "node_modules" / ".bin" / "pnpm").exists():
        argv = ["npm", "install", "--prefix", str(place), "--no-audit", "--no-fund", "--loglevel=error"]
        if run([*argv, f"pnpm@{PNPM}"], stdout=subprocess.DEVNULL):
            raise Failed(f"pnpm {PNPM} could not be installed from npm")
    return [place / "node_modules" / ".bin"]


# What is needed beside git and bash, and gives what goes before PATH.
NEEDS = {
    "venv": need_python,
    "uv": need_uv,
    "src": need_python,
    "npm": need_node,
    "pnpm": need_pnpm,
    "rust": lambda: need("cargo", "cc"),
    "c": lambda: need("cc", "make"),
    "monorepo": need_node,
    "go": lambda: need_debian("go", "golang-go"),
    "java": lambda: need_debian("javac", "default-jdk-headless"),
}


def write(top, files):
    for name, text in files.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def in_place_of_codex(settings, script):
    """Lets a script take the turn. Settings are YAML, which takes strings of JSON."""
    text = settings.read_text()
    if text.count(BACKEND) != 1:
        raise Failed(f"the settings have not one line {BACKEND.strip()!r}")
    turn = f"  backend: command\n  command: [bash, -euxc, {json.dumps(script)}]\n"
    settings.write_text(text.replace(BACKEND, turn))


class Place:
    """A repository of a recipe, and the programs at work in it."""

    def __init__(self, work, bin, before):
        self.top = work / "repository"
        # The product, in it.
        self.within = "."
        self.report = work / "report.json"
        path = [str(part) for part in [bin, *(before or [])]] + [os.environ["PATH"]]
        self.env = {
            **os.environ,
            "PATH": ":".join(path),
            "XDG_STATE_HOME": str(work / "state"),
            # The person's own settings of git (hooks, signing, ignored files) stay out of it.
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
        }
        for name in ["VIRTUAL_ENV", "PYTHONPATH", "NODE_ENV", "GITHUB_ACTIONS"]:
            self.env.pop(name, None)

    def call(self, *argv, within="."):
        print("$", " ".join(argv), flush=True)
        code = run(argv, cwd=self.top / within, env=self.env)
        if code:
            raise Failed(f"{argv[0]} ended with {code}")

    def output(self, *argv):
        done = subprocess.run(argv, cwd=self.top, env=self.env, check=True, capture_output=True)
        return done.stdout.decode()

    def expect_clean(self, when):
        status = self.output("git", "status", "--porcelain")
        if status:
            raise Failed(f"{when} the checkout is not clean:\n{status}")


def play(name, recipe, shared, work, bin):
    place = Place(work, bin, NEEDS[name]())
    shutil.copytree(HERE / name / "product", place.top)
    settings = [Path(file) for file in recipe.files if Path(file).name == "dark-factory.yaml"]
    place.within = str(settings[0].parent)
    write(place.top, recipe.files)
    write(place.top / place.within, shared.files)
    in_place_of_codex(place.top / settings[0], (HERE / name / "agent.sh").read_text())
    for text in recipe.by_hand:
        place.call("bash", "-euxo", "pipefail", "-c", text)

    who = ["-c", "user.name=recipe", "-c", "user.email=recipe@localhost"]
    place.call("git", "init", "-q", "--template=", "-b", "main")
    place.call("git", "add", "--all")
    place.call("git", *who, "commit", "-q", "-m", "Begin")
    place.expect_clean("before the run")

    place.call("iterate", "--report", str(place.report), within=place.within)
    report = json.loads(place.report.read_text())
    first = report["iterations"][0]
    if report["outcome"] != "converged" or report["turns_taken"] != 1:
        raise Failed(f"it ended as {report['outcome']} after {report['turns_taken']} turns")
    if first["result"] == "judged" and first["score"] == 1:
        raise Failed("there was nothing to do")
    place.expect_clean("after the run")

    place.call("factory", "apply", within=place.within)
    place.expect_clean("after factory apply")
    # What was prepared is kept: another run finds it, and not what the set-up left elsewhere.
    place.call("iterate", "--no-agent", "--quiet", within=place.within)
    place.expect_clean("after it was judged again")
    # Elsewhere, from nothing: what was applied stands by itself.
    place.call("git", "clone", "-q", ".", str(work / "clone"))
    place.top = work / "clone"
    place.call("iterate", "--no-agent", "--in-place", "--prepare", "--quiet", within=place.within)
    return report["isolation"]


def main():
    parser = argparse.ArgumentParser(description="Runs the recipes of docs/recipes.md.")
    parser.add_argument("--bin", default=str(ROOT / "target" / "release"), help="where the binaries are")
    parser.add_argument("--keep", action="store_true", help="leave the repositories")
    parser.add_argument("recipe", nargs="*")
    arguments = parser.parse_args()
    shared, recipes = read_recipes()
    if set(recipes) != set(NEEDS):
        sys.exit(f"docs/recipes.md has {sorted(recipes)}, and run.py {sorted(NEEDS)}")
    for name in arguments.recipe:
        if name not in recipes:
            print(f"error: there is no recipe {name!r}; there are {', '.join(recipes)}", file=sys.stderr)
            return 2
    bin = Path(arguments.bin).resolve()

    came = {}
    for name in arguments.recipe or recipes:
        print(f"\n== {name}", flush=True)
        work = Path(tempfile.mkdtemp(prefix=f"dark-factory-{name}."))
        began = time.monotonic()
        try:
            tier = play(name, recipes[name], shared, work, bin)
            came[name] = f"converged in {time.monotonic() - began:.0f} s, isolation {tier}"
        except Skipped as why:
            came[name] = f"SKIPPED: {why}"
        except Failed as why:
            came[name] = f"FAILED: {why}"
        if arguments.keep or came[name].startswith("FAILED"):
            print(f"{name}: look at {work}")
        else:
            shutil.rmtree(work)
    print()
    for name, what in came.items():
        print(f"{name:<10} {what}")
    return int(any(what.startswith("FAILED") for what in came.values()))


if __name__ == "__main__":
    sys.exit(main())
