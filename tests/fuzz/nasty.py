"""Values, keys, texts, names and statements that a file of this package should not hold."""

from __future__ import annotations

from itertools import pairwise

# Text put in place of a quoted @name@, for what no writer of JSON or YAML writes.
_BOMB = "{{a: &a [x, x, x, x, x, x, x, x, x, x], {}}}".format(
    ", ".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]" for a, b in pairwise("abcdefghi"))
)
RAW = {
    "digits": "9" * 5000,
    "beyond": "1e999",
    "deep": "[" * 3000 + "]" * 3000,
    "twice": '{"name": 1, "name": 2}',
    "nothing": "",
    "open": '"[{',
}
RAW_YAML = {
    "bomb": _BOMB,
    "itself": "&loop [*loop]",
    "call": '!!python/object/apply:os.system ["touch called"]',
    "merge": "{<<: {a: 1}, <<: [{b: 1}]}",
    "binary": "!!binary xx",
    "date": "2026-01-01",
    "key": "{[a, b]: 1}",
    "tag": "!unknown 1",
    "sexagesimal": "1:30",
    "set": "!!set {a, b}",
    "letters": '"\\uD800\\x00"',
}
NUMBERS: list[object] = [
    *(0, 1, 2, -1, 3, 10**4, 10**9, 2**31, 2**63, 10**30, -(10**20)),
    *(0.0, -0.0, 0.5, 1.0, 1e-320, 1e308, -1e308, 2.5),
    *(float("nan"), float("inf"), float("-inf"), "@digits@", "@beyond@"),
]
WORDS: list[object] = [
    *("", " ", ".", "..", "a/b", "/", "~", "$HOME", "-", "--help", "9", "1r1", "²", "x" * 20_000),
    *("../canary", "../../canary", "../../../canary", "@CANARY@", "@CANARY@/points"),
    *("canary_module:boom", "canary_module:", ":", "os:system", "a b:c d", "..:..", "@GIVEN@"),
    *("\x00", "a\x00b", "a\nb", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\u202eabc", "\x9b1m"),
    *("\ud800", "[red]x[/red]", "[/]", "[link=x]", "<script>alert(1)</script>", "%s{0}%(a)d"),
    *("baseline", "0", "0-2x", "plain-2x", "cuda", "float64", "channel", "per-layer", "sparse"),
    *("digits", "images", "resnet20", "resnet18", "small_resnet", "torchvision", "never"),
]
VALUES: list[object] = [
    *(None, True, False, *NUMBERS[::3], *WORDS[::3]),
    *([], {}, [[]], [1], ["a"], [0, 0], [-1, 5], [1e308], {"a": {"b": [1]}}, {"": None}),
    {"name": "canary_module:boom", "options": {"a": 1}},
    {"name": "images", "root": "@CANARY@", "classes": 2},
    {"weights": "DEFAULT"},
    *(f"@{name}@" for name in RAW),
]
VALUES_YAML: list[object] = [*VALUES, *(f"@{name}@" for name in RAW_YAML)]
KEYS = [
    "",
    "extra",
    "name",
    "__class__",
    "\x1b[31m",
    "[red]",
    "a/b",
    "x" * 5000,
    "\ud800",
    "@deep@",
]
TEXTS = [
    b"",
    b"\n",
    b"\x00" * 64,
    b"null",
    b"[]",
    b"{}",
    b"0",
    b'"x"',
    b"\xff\xfe\x00",
    b"\xef\xbb\xbf",
]
TEXTS += [
    b"{" * 5000,
    b"[" * 100_000,
    b"NaN",
    b"SQLite format 3\x00",
    b"\x1b[31m",
    b"\r\n\r\n",
    b"--- a",
]
TEXTS += [
    b"\xff" * 8 + b"{}",
    b"\x02" + b"\x00" * 7 + b"{}",
    b"a: 1\n---\nb: 2\n",
    b"\t- a",
    b"%YAML 9.9",
]
TRIALS = [
    "²",
    "a\nb",
    "\x1b[31m",
    "-1",
    "1r",
    "01",
    "r",
    "0r1",
    "9" * 100,
    "\udce9",
    "baseline ",
    "...",
]
STATEMENTS = [
    "UPDATE trials SET state = 'RUNNING'",
    "UPDATE trials SET state = 'WAITING'",
    "UPDATE trials SET state = 'FAIL'",
    "UPDATE trials SET state = 'PRUNED'",
    "UPDATE trials SET state = 'nothing'",
    "UPDATE trials SET number = -1",
    "UPDATE trials SET number = 7",
    "UPDATE trials SET datetime_complete = NULL",
    "UPDATE trials SET datetime_start = 'x'",
    "DELETE FROM trials",
    "DELETE FROM studies",
    "DELETE FROM study_directions",
    "DELETE FROM trial_params",
    "DELETE FROM trial_values",
    "DELETE FROM version_info",
    "DELETE FROM alembic_version",
    "DROP TABLE trials",
    "DROP TABLE trial_user_attributes",
    "UPDATE studies SET study_name = 'other'",
    "UPDATE study_directions SET direction = 'NOT_SET'",
    "UPDATE study_directions SET direction = 'sideways'",
    "UPDATE study_user_attributes SET value_json = '[1, null]'",
    "UPDATE study_user_attributes SET value_json = 'x'",
    "UPDATE trial_user_attributes SET value_json = 'NaN'",
    "UPDATE trial_user_attributes SET value_json = '{}'",
    "UPDATE trial_system_attributes SET value_json = '3'",
    "UPDATE trial_system_attributes SET value_json = 'x'",
    "UPDATE trial_params SET distribution_json = '{}'",
    "UPDATE trial_params SET distribution_json = 'x'",
    "UPDATE trial_params SET param_value = 1e308",
    "UPDATE trial_params SET param_value = 'x'",
    "UPDATE trial_params SET param_name = 'canary_module:boom'",
    "UPDATE trial_values SET value = NULL",
    "UPDATE trial_values SET value_type = 'INF_POS'",
    "UPDATE trial_values SET value_type = 'x'",
    "UPDATE version_info SET schema_version = 99",
    "UPDATE alembic_version SET version_num = 'x'",
]
