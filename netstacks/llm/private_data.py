"""The table of patterns that an administrator can switch on: addresses and names, which are not secrets."""

from netstacks.llm.secret_syntax import BLANKS as _S
from netstacks.llm.secret_syntax import PLAIN, Entry

_OCTET = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
OPTIONAL: dict[str, list[Entry]] = {
    # Without netmasks and wildcards: they identify no network, and a configuration is meaningless without them.
    "redact_ip_addresses": [
        ("ipv4_address", ".", rf"(?<![\w.])((?!255\.|0\.){_OCTET}(?:\.{_OCTET}){{3}}(?:/\d{{1,2}})?)(?![\w]|\.\d)"),
    ],
    "redact_ipv6_addresses": [
        (
            "ipv6_address",
            ":",
            r"(?<![\w:.])((?:[0-9A-F]{1,4}:){7}[0-9A-F]{1,4}(?:/\d{1,3})?"
            r"|(?=[0-9A-F:]{0,34}::)(?:[0-9A-F]{1,4}(?::[0-9A-F]{1,4}){0,6})?::(?:[0-9A-F]{1,4}(?::[0-9A-F]{1,4}){0,6})?"
            r"(?:\d{0,3}(?:\.\d{1,3}){3})?(?:/\d{1,3})?)(?![\w:])",
        ),
    ],
    "redact_mac_addresses": [
        (
            "mac_address",
            ":|.|-",
            r"(?<![\w:.-])([0-9A-F]{2}(?:[:-][0-9A-F]{2}){5}|[0-9A-F]{4}(?:[.-][0-9A-F]{4}){2})(?![\w:-]|\.\w)",
        ),
    ],
    "redact_hostnames": [
        ("hostname", "host|sysname", rf"\b(?:hostname|host-name|sysname){_S}[\"']?([\w.-]{{1,253}})"),
        ("hostname", "#|>", r"^(?:[\w.-]{1,64}@)?([A-Za-z][\w.-]{0,252})(?:\([\w-]{1,60}\))?[#>]"),
        ("hostname", ".", r"(?<![\w.@/-])([A-Za-z][A-Za-z0-9-]{0,62}(?:\.[A-Za-z][A-Za-z0-9-]{0,62}){2,8})(?![\w-])"),
    ],
    "redact_usernames": [
        (
            "username",
            "user",
            rf"\b(?:username|user-name|local-user|bsd-username|login{_S}user|snmp-server{_S}user|usm-user{_S}v3){_S}[\"']?"
            rf"{PLAIN}([^\s\"']{{1,100}})",
        ),
        ("username", "@", r"^([\w.-]{1,64})@[\w.-]{1,253}(?::[^\n]{0,100}?)?[#>$%]"),
    ],
}
