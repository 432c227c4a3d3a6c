"""The table of secret patterns: how the configurations and tools of each vendor write their secrets.

A pattern reads one line. Its capturing groups are the secrets; the text around the groups stays. Every repeat is
bounded, so that a line costs no more than a multiple of its length (tests/llm/test_redaction.py).
"""

import re

Entry = tuple[str, str, str]
"""Name of the kind of secret; triggers, separated by `|`; regular expression."""

# Blanks only: a pattern never reads beyond its line.
_S = r"[ \t]{1,20}"
_O = r"[ \t]{0,20}"
_HASH = (
    r"\$1\$[./\w]{1,8}\$[./\w]{22}|\$5\$(?:rounds=\d{1,9}\$)?[./\w]{1,16}\$[./\w]{43}"
    r"|\$6\$(?:rounds=\d{1,9}\$)?[./\w]{1,16}\$[./\w]{86}|\$[89]\$[./\w]{14}\$[./\w]{43}"
)
# A quoted value without a closing quote ends at the end of the line.
_QUOTED = r'"((?:\\.|[^"\\]){1,4000}+)(?:"|$)|' r"'([^']{1,4000}+)(?:'|$)"
_VALUE = rf"(?:{_QUOTED}|({_HASH}|\S{{1,4000}}))"
# The encryption type between a keyword and its secret.
_KIND = (
    r"(?:(?:\d{1,2}|sha512|encrypted|clear|clear-?text|plain-?text|cipher-?text|cipher|irreversible-cipher|simple|hash"
    rf"|hashed|ascii|ascii-text|hex|hexadecimal|enc){_S}){{0,3}}"
)
# Words after a keyword that show a sentence, not a secret.
_PLAIN = (
    r"(?!(?:is|are|was|were|be|been|and|or|for|to|of|the|a|an|in|on|at|by|with|without|from|as|not|must|should|can|could"
    r"|will|would|has|have|had|does|if|when|that|this|it|set|encryption|authentication|protection|policy|policies"
    r"|required|recovery|prompt|management|configured|key-chain|keychain|hmac-md5)(?:[\s.,:!?]|$))"
)
_SECRET = _KIND + _PLAIN + _VALUE
_NOTHING = r"(?!(?:none|null|nil|true|false|yes|no|required|enabled|disabled|unset)(?:[\s.,;}\]]|$))"
_ASSIGNED = rf"""["']?{_O}[=:]{_O}{_NOTHING}{_VALUE}"""
_ALGORITHM = rf"(?:(?:md5|sha\S{{0,12}}|3?des\S{{0,12}}|aes\S{{0,12}}|128|192|256){_S}){{0,2}}"
_SNMP_USER = rf"\bsnmp(?:-server{_S}user|-agent{_S}(?:\w{{1,20}}-)?usm-user){_S}[^\n]{{1,300}}?"
_BEARER = r"[A-Za-z0-9._~+/=-]"

# Where several patterns find the same secret, the first one names it.
CREDENTIALS: list[Entry] = [
    ("cisco_enable_secret", "enable", rf"\benable{_S}(?:secret|password){_S}(?:level{_S}\d{{1,2}}{_S})?{_SECRET}"),
    ("cisco_password_7", "password", rf"\bpassword{_S}7{_S}{_VALUE}"),
    *(
        (f"cisco_password_{kind}", "password", rf"\bpassword{_S}{kind}{_S}{_PLAIN}{_VALUE}")
        for kind in (0, 4, 5, 6, 8, 9)
    ),
    ("arista_secret", "secret", rf"\bsecret{_S}(?:sha512|0|5|7){_S}{_VALUE}"),
    ("cisco_secret", "secret", rf"\bsecret{_S}(?:4|6|8|9|10){_S}{_VALUE}"),
    # SNMP. `set community` and `community NAME members` are of BGP.
    (
        "snmp_community",
        "community",
        rf"\bsnmp(?:-server|-agent)?{_S}community{_S}(?:(?:read|write|ro|rw|encrypted|clear|cipher|simple|[0-9]){_S})"
        rf"{{0,3}}{_PLAIN}{_VALUE}",
    ),
    (
        "snmp_community",
        "snmp-server",
        rf"\bsnmp-server{_S}host{_S}(?!(?:\S{{1,60}}{_S}){{1,6}}version{_S}3\b)\S{{1,100}}{_S}"
        rf"(?:(?:vrf{_S}\S{{1,60}}|traps?|informs?|version{_S}(?:1|2c)|poll|trap-all|encrypted|clear|[0-9]){_S}){{0,8}}"
        rf"(?!community\b|version\b|use-vrf\b|source-interface\b|filter-vrf\b|(?:\d{{1,3}}\.){{3}}){_VALUE}",
    ),
    (
        "snmp_community",
        "community",
        rf"\bsnmp-server{_S}host{_S}(?:\S{{1,100}}{_S}){{1,6}}?community{_S}{_SECRET}",
    ),
    ("snmp_community", "community-map", rf"\bcommunity-map{_S}([^\s:]{{1,200}})"),
    ("snmp_community", "community", rf"\bsnmp-community(?:-string)?{_S}{_SECRET}"),
    (
        "snmp_community",
        "community",
        rf"^[ \t]{{0,60}}community{_S}(?:\"([^\"]{{1,200}})\"|([^\s{{\"]{{1,200}}))(?={_O}\{{)",
    ),
    ("snmp_community", "community", rf'^[ \t]{{0,60}}community{_S}"([^"]{{1,200}})"(?!{_S}members)'),
    (
        "snmp_community",
        "community",
        rf"\b(?:r[ow]community6?{_S}{_VALUE}|(?:snmp|ro|rw|read|write)[_-]?community{_ASSIGNED})",
    ),
    ("snmp_community", "community", r"<community>([^<]{1,200})"),
    (
        "snmp_community",
        "snmp",
        rf"\bsnmp(?:walk|get|getnext|bulkwalk|bulkget|set|table|trap)\b[^\n]{{0,200}}?{_S}-c{_O}{_VALUE}",
    ),
    ("snmp_v3_auth", "snmp", rf"{_SNMP_USER}\b(?:auth|authentication-mode){_S}{_ALGORITHM}{_KIND}{_VALUE}"),
    ("snmp_v3_auth", "snmp", rf"{_SNMP_USER}\b(?:priv|privacy-mode){_S}{_ALGORITHM}{_KIND}{_VALUE}"),
    (
        "snmp_v3_auth",
        "snmp",
        rf"\bsnmp(?:walk|get|getnext|bulkwalk|bulkget|set|table|trap)\b[^\n]{{0,200}}?{_S}-A{_O}{_VALUE}",
    ),
    (
        "snmp_v3_auth",
        "snmp",
        rf"\bsnmp(?:walk|get|getnext|bulkwalk|bulkget|set|table|trap)\b[^\n]{{0,200}}?{_S}-X{_O}{_VALUE}",
    ),
    # AAA servers.
    ("tacacs_key", "tacacs", rf"tacacs(?:-server)?\b[^\n]{{0,200}}?\b(?:shared-)?key{_S}{_SECRET}"),
    ("tacacs_key", "tacplus", rf"\btacplus-server{_S}\S{{1,100}}{_S}secret{_S}{_SECRET}"),
    (
        "radius_key",
        "radius|server-private",
        rf"\b(?:radius(?:-server)?|server-private)\b[^\n]{{0,200}}?\b(?:shared-)?key{_S}{_SECRET}",
    ),
    ("radius_key", "radius", rf"\bradius-server{_S}\S{{1,100}}{_S}secret{_S}{_SECRET}"),
    (
        "radius_key",
        "authentication|accounting",
        rf"\bkey{_S}(?:authentication|accounting){_S}(?:cipher|simple){_S}{_VALUE}",
    ),
    # `key 1` in a key chain is a number, not a secret.
    (
        "server_key",
        "key",
        rf"^[ \t+-]{{0,60}}key{_S}(?!chain\b|\d{{1,4}}{_O}\r?$|hexadecimal\b){_SECRET}(?={_O}\r?$)",
    ),
    ("server_key", "key", rf"\bkey{_S}7{_S}([0-9A-F]{{4,400}})\b"),
    (
        "server_key",
        "key",
        rf"\b(?:failover{_S}(?:ipsec{_S}pre-shared-)?key|config-key{_S}password-encrypt|key{_S}hexadecimal){_S}{_SECRET}",
    ),
    # Juniper, Palo Alto.
    ("juniper_secret", "secret", rf"\bsecret{_S}\"([^\"]{{1,400}})\""),
    ("juniper_secret", "secret-data", rf"\"([^\"]{{1,400}})\"(?=;?{_O}##{_O}SECRET-DATA)"),
    ("juniper_encrypted", "encrypted-password", rf"\bencrypted-password{_S}{_VALUE}"),
    ("paloalto_password", "<pass|<phash|<secret", r"<(?:password|passwd|phash|secret|passphrase)>([^<]{1,4000})"),
    ("paloalto_key", "key>", r"<(?:key|api-?key|private-key|auth-key|shared-key)>([^<]{1,4000})"),
    ("paloalto_key", "-aq==", r"(?<![^\s\"'>])(-AQ==[A-Za-z0-9+/=]{8,4000})"),
    # Fortinet, Huawei, H3C.
    ("fortinet_secret", "enc", rf"\bset{_S}[\w-]{{1,60}}{_S}ENC{_S}{_VALUE}"),
    (
        "fortinet_secret",
        "passwd|password|secret|passphrase|-pwd|authkey",
        rf"\bset{_S}(?:passwd|password\d?|(?:secondary-|tertiary-|rsso-)?secret|psksecret(?:-remote)?|ppk-secret|pksecret"
        rf"|passphrase|auth-pwd|priv-pwd|authkey){_S}{_SECRET}",
    ),
    (
        "huawei_cipher",
        "cipher|simple",
        r"\b(?:password|key|community|secret|pass-phrase|md5|sha\S{0,12}|hmac-\S{1,20}|read|write|authentication-mode"
        rf"|accounting)(?:{_S}\S{{1,30}}){{0,2}}?{_S}(?:irreversible-cipher|cipher|simple){_S}"
        rf"(?!aes|3?des|chacha|tls|ssl|suite|rc4){_PLAIN}{_VALUE}",
    ),
    ("huawei_cipher", "irreversible-cipher", rf"\birreversible-cipher{_S}{_VALUE}"),
    *(
        ("huawei_cipher", mark, rf"({re.escape(mark)}\S{{8,1000}}?{re.escape(mark)})")
        for mark in ("%^%#", "%@%@", "%$%$", "%#%#", "@%@%", "%+%#")
    ),
    # IPsec.
    (
        "pre_shared_key",
        "pre-shared|preshared",
        r"\b(?:pre-?shared-key|pre-shared-secret)"
        rf"{_S}(?:(?:local|remote|address{_S}\S{{1,60}}(?:{_S}\d\S{{1,60}})?|ipv6|hostname{_S}\S{{1,100}}|key|pass-phrase)"
        rf"{_S}){{0,4}}{_SECRET}",
    ),
    ("pre_shared_key", "key", rf"\b(?:isakmp|ike|ikev1|ikev2){_S}key{_S}{_SECRET}"),
    (
        "pre_shared_key",
        "session-key",
        rf"\bsession-key{_S}(?:inbound|outbound){_S}(?:ah|esp){_S}\d{{1,10}}{_S}(?!cipher\b|authenticator\b)(\S{{1,400}})",
    ),
    ("pre_shared_key", "session-key", rf"\bsession-key{_S}[^\n]{{1,80}}?\bcipher{_S}(\S{{1,400}})"),
    ("pre_shared_key", "session-key", rf"\bsession-key{_S}[^\n]{{1,500}}?\bauthenticator{_S}(\S{{1,400}})"),
    # Routing and redundancy protocols, NTP.
    (
        "routing_key",
        "authentication-key",
        rf"\b(?:hello-)?authentication-key{_S}(?:\d{{1,10}}{_S}(?:md5|sha\S{{0,12}}|hmac-\S{{1,20}}|cmac-\S{{1,20}}|aes\S{{0,12}})"
        rf"{_S})?{_SECRET}",
    ),
    (
        "routing_key",
        "digest-key",
        rf"\bmessage-digest-key{_S}\d{{1,10}}{_S}(?:md5|hmac-\S{{1,20}}|sha\S{{0,12}}){_S}{_SECRET}",
    ),
    ("routing_key", "key-string", rf"\bkey-string{_S}(?:password{_S})?{_SECRET}"),
    ("routing_key", "md5", rf"\bmd5{_S}\d{{1,10}}{_S}key{_S}{_VALUE}"),
    (
        "routing_key",
        "authentication",
        rf"\b(?:standby|vrrp|glbp){_S}(?:\d{{1,5}}{_S})?authentication{_S}(?!md5\b)(?:text{_S})?{_SECRET}",
    ),
    ("routing_key", "authentication", rf"\bauthentication{_S}(?:text|string){_S}{_SECRET}"),
    ("routing_key", "hmac-", rf"\bmode{_S}hmac-\S{{1,20}}{_S}{_SECRET}"),
    ("routing_key", "password", rf"\b(?:lsp|hello|domain|area)-password{_S}(?:(?:hmac-md5|text|accept){_S})?{_SECRET}"),
    ("routing_key", "password", rf"\b(?:neighbor|peer|isis){_S}(?:\S{{1,100}}{_S}){{0,2}}?password{_S}{_SECRET}"),
    ("routing_key", "password", rf"\bpassword{_S}peer{_S}\S{{1,100}}{_S}{_SECRET}"),
    # Wireless networks.
    ("wireless_key", "psk", rf"\bwpa2?-psk{_S}{_SECRET}"),
    ("wireless_key", "set-key", rf"\bset-key{_S}(?:ascii|hex){_S}{_SECRET}"),
    ("wireless_key", "wpa|passphrase|pass-phrase", rf"\b(?:wpa-(?:passphrase|hexkey)|pass-?phrase){_S}{_SECRET}"),
    ("wireless_key", "size", rf"\bkey{_S}\d{{1,2}}{_S}size{_S}\d{{2,4}}-?bit{_S}{_SECRET}"),
    # Point-to-point links, services, users.
    (
        "ppp_password",
        "password",
        rf"\b(?:chap|pap|ms-chap|ms-chap-v2|eap|tunnel|sent-username{_S}\S{{1,100}}){_S}password{_S}{_SECRET}",
    ),
    (
        "service_password",
        "password|secret",
        rf"\b(?:ftp|vtp|client|http|ldap|smtp|digest){_S}(?:password|secret){_S}{_SECRET}",
    ),
    (
        "service_password",
        "password|passwd|passphrase|secret",
        rf"\b[\w-]{{1,40}}-(?:password|passwd|passphrase|secret){_S}{_SECRET}",
    ),
    (
        "user_password",
        "password|secret",
        rf"\b(?:username|local-user|bsd-username){_S}\S{{1,100}}{_S}(?:\S{{1,60}}{_S}){{0,6}}?(?:sha256-)?(?:password|secret)"
        rf"{_S}{_SECRET}",
    ),
    (
        "user_password",
        "password",
        rf"\bpassword{_S}(?:manager|operator)\b[^\n]{{0,100}}?\b(?:sha1|sha-256|plaintext){_S}{_VALUE}",
    ),
    ("user_password", "mgmt-user", rf"\bmgmt-user{_S}\S{{1,100}}{_S}\S{{1,60}}{_S}{_VALUE}"),
    (
        "line_password",
        "password|passwd|secret",
        rf"^[ \t+-]{{0,60}}(?:password|passwd|secret){_S}{_SECRET}"
        rf"(?={_O}(?:(?:encrypted|hash2?|pbkdf2)\b[^\n]{{0,60}})?\r?$)",
    ),
    # Hashed or obfuscated secrets of any vendor, anywhere in a line.
    (
        "password_hash",
        "$",
        r"(?<![\w$])(\$(?:\d{1,2}[a-z]?|2[abxy]|[chy]|sha\d{1,3}|pbkdf2-\w{1,12}|argon2\w{1,2})\$[^\s\"';,<]{8,1000})",
    ),
    # Keys and tokens of clouds and programs.
    (
        "aws_access_key",
        "akia|asia|aroa|aida",
        r"(?<![A-Za-z0-9])((?-i:(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{16}))(?![A-Za-z0-9])",
    ),
    ("aws_secret_key", "secret|session", rf"(?:aws[_-]?)?(?:secret[_-]?access[_-]?key|session[_-]?token){_ASSIGNED}"),
    ("bearer_token", "bearer", rf"\bbearer{_S}({_BEARER}{{12,4000}})"),
    (
        "bearer_token",
        "authorization",
        rf"\bauthorization[\"']?{_O}[:=]{_O}[\"']?(?:basic|digest|token|apikey){_S}({_BEARER}{{6,4000}})",
    ),
    ("jwt", "eyj", r"(?<![\w-])(eyJ[\w-]{8,4000}\.[\w-]{4,4000}(?:\.[\w-]{0,4000})?)"),
    (
        "api_key_generic",
        "sk-|ghp_|gho_|ghs_|github_pat_|glpat-|xox|aiza|hvs.",
        r"(?<![\w-])((?:sk-|gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|AIza|hvs\.)[\w-]{16,400})",
    ),
    (
        "api_key_generic",
        "key|token",
        r"(?:api[_-]?key|api[_-]?token|access[_-]?token|auth[_-]?token|refresh[_-]?token|private[_-]?token|id[_-]?token"
        rf"|(?<![a-z])token){_ASSIGNED}",
    ),
    ("api_key_generic", "key=", r"[?&]key=([^&\s\"']{8,400})"),
    ("url_password", "://", r"://[^\s/:@]{0,100}:([^\s/@]{1,200})@"),
    ("command_password", "--", rf"--(?:password|passwd|passphrase|token|secret|api-key){_S}{_PLAIN}{_VALUE}"),
    ("command_password", "sshpass", rf"\bsshpass{_S}-p{_O}{_VALUE}"),
    (
        "generic_password",
        "passw|pwd|passphrase|pass",
        rf"(?:password|passwd|passphrase|(?<![a-z])(?:pass|pwd)){_ASSIGNED}",
    ),
    (
        "generic_secret",
        "secret|key|psk",
        r"(?:secret|shared[_-]?key|pre[_-]?shared[_-]?key|private[_-]?key|encryption[_-]?key|secret[_-]?key"
        rf"|(?<![a-z])psk){_ASSIGNED}",
    ),
]

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
            rf"{_PLAIN}([^\s\"']{{1,100}})",
        ),
        ("username", "@", r"^([\w.-]{1,64})@[\w.-]{1,253}(?::[^\n]{0,100}?)?[#>$%]"),
    ],
}
