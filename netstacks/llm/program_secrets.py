"""The table of secret patterns of programs, clouds and their protocols, and the general patterns for any text."""

from netstacks.llm.secret_syntax import ASSIGNED, PLAIN, VALUE, Entry
from netstacks.llm.secret_syntax import BLANKS as _S
from netstacks.llm.secret_syntax import OPTIONAL_BLANKS as _O

_BEARER = r"[A-Za-z0-9._~+/=-]"
_SNMP_TOOL = r"\bsnmp(?:walk|get|getnext|bulkwalk|bulkget|set|table|trap)\b[^\n]{0,200}?[ \t]"

# Where several patterns find the same secret, the first one names it.
PROGRAMS: list[Entry] = [
    *(
        (name, "snmp", rf"{_SNMP_TOOL}(?-i:{options}){_O}{VALUE}")
        for name, options in (("snmp_community", "-c"), ("snmp_v3_auth", "-A"), ("snmp_v3_auth", "-X"))
    ),
    ("snmp_community", "com2sec", rf"\bcom2sec6?{_S}(?:-Cn{_S}\S{{1,100}}{_S})?\S{{1,100}}{_S}\S{{1,100}}{_S}{VALUE}"),
    ("snmp_community", "sink", rf"\b(?:trap2?sink|informsink){_S}\S{{1,100}}{_S}{VALUE}"),
    ("snmp_community", "trapcommunity|authcommunity", rf"\b(?:trapcommunity|authcommunity{_S}\S{{1,100}}){_S}{VALUE}"),
    ("snmp_v3_auth", "createuser", rf"\bcreateuser{_S}[^\n]{{1,200}}?{_S}(?:md5|sha\S{{0,8}}){_S}{VALUE}"),
    ("snmp_v3_auth", "createuser", rf"\bcreateuser{_S}[^\n]{{1,400}}?{_S}(?:des|aes\S{{0,8}}){_S}{VALUE}"),
    ("pre_shared_key", ":", rf":{_O}(?-i:PSK|EAP|XAUTH){_S}{VALUE}"),
    ("routing_key", "auth_pass", rf"\bauth_pass{_S}{VALUE}"),
    (
        "aws_access_key",
        "akia|asia|aroa|aida",
        r"(?<![A-Za-z0-9])((?-i:(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{16}))(?![A-Za-z0-9])",
    ),
    ("aws_secret_key", "secret|session", rf"(?:aws[_-]?)?(?:secret[_-]?access[_-]?key|session[_-]?token){ASSIGNED}"),
    ("bearer_token", "bearer", rf"\bbearer{_S}({_BEARER}{{12,4000}})"),
    (
        "bearer_token",
        "authorization",
        rf"\bauthorization[\"']?{_O}[:=]{_O}[\"']?(?:bearer|basic|digest|token|apikey){_S}({_BEARER}{{6,4000}})",
    ),
    ("bearer_token", "cookie", rf"\bcookie[\"']?{_O}:{_O}[\"']?[\w.-]{{1,100}}=([^\n\"']{{6,4000}})"),
    ("jwt", "eyj", r"(?<![\w-])(eyJ[\w-]{8,4000}\.[\w-]{4,4000}(?:\.[\w-]{0,4000})?)"),
    (
        "api_key_generic",
        "sk-|ghp_|gho_|ghs_|github_pat_|glpat-|xox|aiza|hvs.|ya29.|npm_",
        r"(?<![\w-])((?:sk-|gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|AIza|hvs\.|ya29\.|npm_)[\w-]{16,400})",
    ),
    (
        "api_key_generic",
        "key|token",
        r"(?:api[_-]?key|api[_-]?token|access[_-]?token|auth[_-]?token|refresh[_-]?token|private[_-]?token|id[_-]?token"
        rf"|(?<![a-z])token){ASSIGNED}",
    ),
    ("api_key_generic", "key=", r"[?&]key=([^&\s\"']{8,400})"),
    ("api_key_generic", "idtoken", rf"\bidtoken{_S}{VALUE}"),
    ("api_key_generic", "auth=", r"auth=(?:key|token-secure),([^\s,]{1,400})"),
    ("url_password", "://", r"://[^\s/:@]{0,100}:([^\s/@]{1,200})@"),
    ("command_password", "--", rf"--(?:password|passwd|passphrase|token|secret|api-key){_S}{PLAIN}{VALUE}"),
    ("command_password", "sshpass", rf"\bsshpass{_S}-p{_O}{VALUE}"),
    (
        "command_password",
        "curl",
        rf"\bcurl\b[^\n]{{0,200}}?{_S}(?:(?-i:-u)|--user){_O}[\"']?[^\s:\"']{{1,100}}:([^\s\"']{{1,200}})",
    ),
    (
        "generic_password",
        "passw|pwd|passphrase|pass",
        rf"(?:password|passwd|passphrase|(?<![a-z])(?:pass|pwd)){ASSIGNED}",
    ),
    # In a sentence, if it is quoted or has letters and digits: another word may be any.
    (
        "generic_password",
        "password|secret",
        rf"(?<![\w<-])(?:password|secret){_S}(?:(?:is:?|to){_S})?"
        rf"(?=[\"']|(?!(?:sha-?\d{{1,3}}|md5|8a|aes-?\d{{1,3}}|pbkdf2|type\d)(?:\s|$))(?=\S{{0,100}}[a-z])\S{{0,100}}\d){VALUE}",
    ),
    # `Community: 65000:100` is of BGP.
    (
        "snmp_community",
        "community",
        r"(?:snmp[ _-]?community|community[ _-]?(?:name|string|index)|\"community)(?:[ _-](?:name|string))?"
        rf"(?={_O}[\"']?{_O}[=:])(?![\"' \t=:\[]{{1,20}}(?:\d{{1,10}}:\d|no-))[ \t]{{0,20}}{ASSIGNED}",
    ),
    (
        "snmp_community",
        "community",
        rf"^[ \t-]{{0,60}}(?-i:community)(?!:[ \t\"']{{0,20}}(?:\d{{1,10}}:\d|no-)){ASSIGNED}",
    ),
    (
        "generic_secret",
        "secret|key|psk|cak=",
        r"(?:secret|(?:shared|private|priv|privacy|encryption|secret|auth|authentication|account|md5|static|wep|server)"
        rf"[_-]?key(?:[_-]?\d)?|(?<![a-z])(?:psk|cak)){ASSIGNED}",
    ),
]
