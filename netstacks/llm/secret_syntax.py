"""The parts of the regular expressions for secrets.

A pattern reads one line. Its capturing groups are the secrets; the text around the groups stays. Every repeat is
bounded, so that a line costs no more than a multiple of its length (tests/llm/test_redaction.py).
"""

Entry = tuple[str, str, str]
"""Name of the kind of secret; triggers, separated by `|`; regular expression."""

# Blanks only: a pattern never reads beyond its line.
BLANKS = r"[ \t]{1,20}"
OPTIONAL_BLANKS = r"[ \t]{0,20}"
BEGIN = rf"(?:^(?:[ \t+-]{{0,60}}|[\w.@()/:~\[\]-]{{1,100}}[#>]{OPTIONAL_BLANKS})|logged command:{OPTIONAL_BLANKS})"
"""The beginning of a line, or of the command behind a prompt or in the log of a device."""
END = rf"(?={OPTIONAL_BLANKS};?\r?$)"
_HASH = (
    r"\$1\$[./\w]{1,8}\$[./\w]{22}|\$5\$(?:rounds=\d{1,9}\$)?[./\w]{1,16}\$[./\w]{43}"
    r"|\$6\$(?:rounds=\d{1,9}\$)?[./\w]{1,16}\$[./\w]{86}|\$[89]\$[./\w]{14}\$[./\w]{43}"
)
# A quoted value without a closing quote ends at the end of the line.
_QUOTED = r'"((?:\\.|[^"\\]){1,4000}+)(?:"|$)|' r"'([^']{1,4000}+)(?:'|$)"
VALUE = rf"(?:{_QUOTED}|({_HASH}|\S{{1,4000}}))"
# The encryption type between a keyword and its secret.
KIND = (
    r"(?:(?:\d{1,2}|8a|sha512|encrypted|clear|clear-?text|plain|plain-?text|cipher-?text|cipher|irreversible-cipher"
    rf"|simple|hash|hashed|ascii|ascii-text|hex|hexadecimal|enc){BLANKS}){{0,3}}"
)
# Words after a keyword that show a sentence or a setting, not a secret.
PLAIN = (
    r"(?!(?:is|are|was|were|be|been|and|or|for|to|of|the|a|an|in|on|at|by|with|without|from|as|not|must|should|can|could"
    r"|will|would|has|have|had|does|if|when|that|this|it|set|encryption|authentication|protection|policy|policies"
    r"|required|recovery|prompt|management|configured|key-chain|keychain|hmac-md5|default|none|disable)(?:[\s.,:!?]|$))"
)
SECRET = KIND + PLAIN + VALUE
_NOTHING = r"(?!(?:none|null|nil|true|false|yes|no|required|enabled|disabled|unset)(?:[\s.,;}\]]|$))"
ASSIGNED = rf"""["']?{OPTIONAL_BLANKS}[=:]{OPTIONAL_BLANKS}{_NOTHING}{VALUE}"""
