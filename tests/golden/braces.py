"""Writes braces.json: what Python's braceexpand makes of patterns. Run with braceexpand installed."""
import json
from importlib.metadata import version
from pathlib import Path

from braceexpand import UnbalancedBracesError, braceexpand

PATTERNS = [
    "", "a", "a.tar", "{00..12}.tar", "cc3m/{00000..00003}.tar", "{a..e}", "{e..a}", "{a..g..2}", "{g..a..3}", "{1..9..2}", "{9..1..2}",
    "{1..9..-2}", "{4..1}", "{2..-1}", "{-1..2}", "{-01..2}", "{07..10}", "{7..010}", "{0..3}", "{1..1}", "{1..5..0}", "{5..5..3}", "{A..C}", "{X..c}",
    "{c..X}", "{a,b,c}", "{a,b}{1,2}", "x{,y}z", "{,}", "{a,{b,c}}", "{{a,b},c}", "python{2.{5..7},3.{2,3}}", "{a}", "{}", "a{}b", "{{a,b}}",
    "{a{1,2}}", "{1..}", "{..2}", "{1..b}", "{a..1}", "{ab..cd}", "{1...3}", "{1..2..x}", "{1..2..3..4}", "{1..2,5..6}", "{1{2,3}", "}{", "a}b{c",
    "{a,b}}", "{{a,b}", "\\{a,b\\}", "{1\\{2,3}", "a\\,b", "{a\\,b,c}", "\\", "a\\", "{a,b}\\\\", "{é,ü}.tar", "{1..3},{4..5}", "{001..3..2}",
    "{-5..-1..2}", "{-05..-1}", "{0..-0}", "{00..0}",
]


def expand(pattern):
    try:
        return list(braceexpand(pattern))
    except UnbalancedBracesError:
        return None


cases = {pattern: expand(pattern) for pattern in PATTERNS}
origin = f"braceexpand {version('braceexpand')}, by braces.py"
Path(__file__).with_suffix(".json").write_text(json.dumps({"origin": origin, "cases": cases}, indent=1, ensure_ascii=False) + "\n")
