"""Writes flags.json: the flags of open_clip and of VL Hub as their parsers declare them, and the commands of their READMEs.

    python tests/golden/flags.py OPEN_CLIP_3.3.0 OPEN_CLIP_MAIN VLHUB

Each is a checkout or an unpacked wheel. Only the parsers run: neither torch nor the programs are needed.
"""
import argparse
import inspect
import json
import re
import shlex
import sys
import types
from pathlib import Path

release, main, vlhub = (Path(folder) for folder in sys.argv[1:])
# VL Hub's parser imports it for a function that it does not call.
sys.modules["yaml"] = types.ModuleType("yaml")


class Declared(Exception):
    """Raised in place of parsing, with the parser that was built."""


def stop(parser, *_):
    raise Declared(parser)


def flags(path):
    scope = {}
    exec(compile(path.read_text(), str(path), "exec"), scope)
    parse = argparse.ArgumentParser.parse_args
    argparse.ArgumentParser.parse_args = stop
    try:
        # open_clip's takes the arguments, VL Hub's none.
        scope["parse_args"](*[[] for _ in inspect.signature(scope["parse_args"]).parameters])
    except Declared as declared:
        parser = declared.args[0]
    finally:
        argparse.ArgumentParser.parse_args = parse
    return [flag(action) for action in parser._actions if "--help" not in action.option_strings]


def flag(action):
    default = sorted(action.default.items()) if isinstance(action.default, dict) else action.default
    return {
        "names": action.option_strings,
        "takes": "nothing" if action.nargs == 0 else getattr(action.type, "__name__", "str"),
        "several": action.nargs if isinstance(action.nargs, str) else None,
        "choices": action.choices,
        "default": default,
    }


def commands(path):
    """The arguments of every command of a page that starts the training program."""
    found = []
    for block in re.findall(r"```bash\n(.*?)```", path.read_text(), re.S):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            starts = [at for at, word in enumerate(words) if re.search(r"(training|open_clip_train)([./]main(\.py)?)$", word)]
            if starts:
                found.append(words[starts[0] + 1 :])
    return found


def named(path):
    """Every flag that a page names, outside of commands too."""
    return sorted(set(re.findall(r"--[a-z][a-z0-9_-]*", path.read_text())))


golden = {
    "origin": "open_clip_torch 3.3.0, mlfoundations/open_clip 89fb801 (4.2.0.dev0), penfever/vlhub fe468a4, by flags.py",
    "flags": {
        "open_clip 3.3.0": flags(release / "open_clip_train/params.py"),
        "open_clip main": flags(main / "src/open_clip_train/params.py"),
        "VL Hub": flags(vlhub / "src/training/params.py"),
    },
    "commands": {
        "VL Hub": commands(vlhub / "README.md"),
        "VL Hub, docs/openclip_readme.md": commands(vlhub / "docs/openclip_readme.md"),
        "open_clip main": commands(main / "README.md"),
    },
    "named": {"VL Hub": named(vlhub / "README.md")},
}
Path(__file__).with_suffix(".json").write_text(json.dumps(golden, indent=1) + "\n")
