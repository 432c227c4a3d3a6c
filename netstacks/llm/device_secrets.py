"""The table of secret patterns of network devices: how the configurations of each vendor write their secrets."""

import re

from netstacks.llm.secret_syntax import ASSIGNED, BEGIN, END, KIND, PLAIN, SECRET, VALUE, Entry
from netstacks.llm.secret_syntax import BLANKS as _S
from netstacks.llm.secret_syntax import OPTIONAL_BLANKS as _O

_ALGORITHM = rf"(?:(?:md5|sha\S{{0,12}}|3?des\S{{0,12}}|aes\S{{0,12}}|128|192|256){_S}){{0,2}}"
_SNMP_USER = rf"\bsnmp(?:(?:v3|-server){_S}user|-agent{_S}(?:\w{{1,20}}-)?usm-user){_S}[^\n]{{1,300}}?"

# Where several patterns find the same secret, the first one names it.
DEVICES: list[Entry] = [
    ("cisco_enable_secret", "enable", rf"\benable{_S}(?:secret|password){_S}(?:level{_S}\d{{1,2}}{_S})?{SECRET}"),
    ("cisco_password_7", "password", rf"\bpassword{_S}7{_S}{VALUE}"),
    *(
        (f"cisco_password_{kind}", "password", rf"\bpassword{_S}{kind}{_S}{PLAIN}{VALUE}")
        for kind in (0, 4, 5, 6, 8, 9)
    ),
    ("arista_secret", "secret", rf"\bsecret{_S}(?:sha512|0|5|7){_S}{VALUE}"),
    ("cisco_secret", "secret", rf"\bsecret{_S}(?:4|6|8|9|10){_S}{VALUE}"),
    # SNMP. `set community` and `community NAME members` are of BGP.
    (
        "snmp_community",
        "community",
        rf"\bsnmp(?:-server|-agent)?{_S}community{_S}(?:(?:read|write|ro|rw|encrypted|clear|cipher|simple|[0-9]){_S})"
        rf"{{0,3}}{PLAIN}{VALUE}",
    ),
    (
        "snmp_community",
        "snmp-server",
        rf"\bsnmp-server{_S}host{_S}(?!(?:\S{{1,60}}{_S}){{1,6}}version{_S}3\b)\S{{1,100}}{_S}"
        rf"(?:(?:vrf{_S}\S{{1,60}}|traps?|informs?|version{_S}(?:1|2c)|poll|trap-all|encrypted|clear|[0-9]){_S}){{0,8}}"
        rf"(?!community\b|version\b|use-vrf\b|source-interface\b|filter-vrf\b|(?:\d{{1,3}}\.){{3}}){VALUE}",
    ),
    (
        "snmp_community",
        "community",
        rf"\bsnmp-server{_S}host{_S}(?:\S{{1,100}}{_S}){{1,6}}?community{_S}{SECRET}",
    ),
    ("snmp_community", "community-map", rf"\bcommunity-map{_S}([^\s:]{{1,200}})"),
    ("snmp_community", "snmp-community", rf"\bsnmp-community(?:-string)?{_S}{SECRET}{END}"),
    ("snmp_community", "community-name", rf"\bcommunity-name{_S}{SECRET}"),
    ("snmp_community", "community", rf"\bsnmp[\w-]{{1,20}}\b[^\n]{{0,200}}?{_S}community{_S}{SECRET}{END}"),
    (
        "snmp_community",
        "snmp add|snmpv3 add",
        rf"\bsnmp(?:v3)?{_S}add{_S}community{_S}(?:(?:readonly|readwrite){_S})?{SECRET}",
    ),
    ("snmp_community", "snmpv3 add", rf"\bsnmpv3{_S}add{_S}community{_S}[^\n]{{1,200}}?{_S}name{_S}{SECRET}"),
    ("snmp_community", "securityname", rf"\bsecurityname{_S}{SECRET}(?={_S}v(?:1|2c)\b)"),
    (
        "snmp_community",
        "community",
        rf"^[ \t]{{0,60}}community{_S}(?:\"([^\"]{{1,200}})\"|([^\s{{\"]{{1,200}}))(?={_O}\{{)",
    ),
    ("snmp_community", "community", rf'^[ \t]{{0,60}}community{_S}"([^"]{{1,200}})"(?!{_S}members)'),
    (
        "snmp_community",
        "rocommunity|rwcommunity|snmpcommunity|readcommunity|writecommunity|_community|-community",
        rf"\b(?:r[ow]community6?{_S}{VALUE}|(?:snmp|ro|rw|read|write)[_-]?community{ASSIGNED})",
    ),
    (
        "snmp_community",
        "<",
        r"<(?:[\w.-]{1,40}:)?(?:snmp-)?community(?:-string|-name)?(?:\s[^<>\n]{0,200})?>([^<\n]{1,200})",
    ),
    ("snmp_community", "/snmp", rf"/snmp[ /]community\b[^\n]{{0,200}}?\bname={VALUE}"),
    (
        "snmp_v3_auth",
        "snmp",
        rf"{_SNMP_USER}\b(?:auth|authentication-mode){_S}{_ALGORITHM}(?:auth-pass{_S})?{KIND}{VALUE}",
    ),
    ("snmp_v3_auth", "snmp", rf"{_SNMP_USER}\b(?:priv|privacy-mode){_S}{_ALGORITHM}(?:priv-pass{_S})?{KIND}{VALUE}"),
    (
        "snmp_v3_auth",
        "authentication",
        rf"\bauthentication{_S}(?:hmac-\S{{1,20}}|md5|sha\S{{0,12}}){_S}((?:0x)?[0-9A-F]{{10,400}})\b",
    ),
    (
        "snmp_v3_auth",
        "privacy",
        rf"\bprivacy{_S}(?:3?des\S{{0,12}}|aes\S{{0,20}}){_S}((?:0x)?[0-9A-F]{{10,400}})\b",
    ),
    # AAA servers.
    ("tacacs_key", "tacacs", rf"tacacs(?:-server)?\b[^\n]{{0,200}}?\b(?:shared-)?key{_S}{SECRET}"),
    ("tacacs_key", "tacplus", rf"\btacplus-server{_S}\S{{1,100}}{_S}secret{_S}{SECRET}"),
    (
        "radius_key",
        "radius|server-private",
        rf"\b(?:radius(?:-server)?|server-private)\b[^\n]{{0,200}}?\b(?:shared-)?key{_S}{SECRET}",
    ),
    ("radius_key", "radius", rf"\bradius-server{_S}\S{{1,100}}{_S}secret{_S}{SECRET}"),
    (
        "radius_key",
        "authentication|accounting",
        rf"\bkey{_S}(?:authentication|accounting){_S}(?:cipher|simple){_S}{VALUE}",
    ),
    (
        "radius_key",
        "host",
        rf"\baaa-server{_S}\S{{1,100}}{_S}\(\S{{1,100}}\){_S}host{_S}\S{{1,100}}{_S}(?!timeout\b){VALUE}",
    ),
    # `key 1` in a key chain is a number, not a secret.
    (
        "server_key",
        "key",
        rf"{BEGIN}(?:set{_S})?key{_S}(?!chain\b|\d{{1,4}}{_O}\r?$|hexadecimal\b){SECRET}(?={_O}(?:hash2?)?{_O}\r?$)",
    ),
    (
        "server_key",
        "key",
        rf"\b(?:address{_S}ipv[46]{_S}\S{{1,100}}|map-server{_S}\S{{1,100}}|pac|entry{_S}\d{{1,3}}){_S}key{_S}{SECRET}",
    ),
    (
        "server_key",
        "key",
        r"(?<!pre-)\b(?:server|shared|auth|api|md5|enc|encrypt|encryption|private|privacy|plaintext|cfb|localized|wep|mpsk)-?key"
        rf"{_S}{SECRET}",
    ),
    ("server_key", "key", rf"\bkey{_S}7{_S}([0-9A-F]{{4,400}})\b"),
    (
        "server_key",
        "key",
        rf"\b(?:failover{_S}(?:ipsec{_S}pre-shared-)?key|config-key{_S}password-encrypt|key{_S}hexadecimal){_S}{SECRET}",
    ),
    # Juniper, Palo Alto.
    ("juniper_secret", "secret", rf"\bsecret{_S}\"([^\"]{{1,400}})\""),
    ("juniper_secret", "secret-data", rf"\"([^\"]{{1,400}})\"(?=;?{_O}##{_O}SECRET-DATA)"),
    ("juniper_encrypted", "encrypted-password", rf"\bencrypted-password{_S}{VALUE}"),
    (
        "paloalto_password",
        "<",
        r"<[\w.:-]{0,60}(?:password|passwd|pwd|phash|secret|passphrase|key-string)(?:\s[^<>\n]{0,200})?>([^<\n]{1,4000})",
    ),
    (
        "paloalto_key",
        "key",
        r"<(?:[\w.-]{1,40}:)?(?:key|api-?key|(?:private|auth|authentication|shared|pre-shared)-key)(?:\s[^<>\n]{0,200})?>"
        r"([^<\n]{1,4000})",
    ),
    ("paloalto_password", "phash|authpwd|privpwd", rf"\b(?:phash|authpwd|privpwd){_S}{VALUE}"),
    ("paloalto_key", "-aq==", r"(?<![^\s\"'>])(-AQ==[A-Za-z0-9+/=]{8,4000})"),
    # Fortinet, Huawei, H3C.
    ("fortinet_secret", "enc", rf"\bset{_S}[\w-]{{1,60}}{_S}ENC{_S}{VALUE}"),
    (
        "fortinet_secret",
        "passwd|password|secret|passphrase|-pwd|authkey|token",
        rf"\bset{_S}(?:passwd|password\d?|(?:secondary-|tertiary-|rsso-)?secret|psksecret(?:-remote)?|ppk-secret|pksecret"
        rf"|passphrase|auth-pwd|priv-pwd|authkey|(?:auth-)?token){_S}{SECRET}",
    ),
    (
        "huawei_cipher",
        "cipher|simple",
        r"\b(?:password|key|community|secret|pass-phrase|md5|sha\S{0,12}|hmac-\S{1,20}|read|write|authentication-mode"
        rf"|accounting)(?:{_S}\S{{1,30}}){{0,2}}?{_S}(?:irreversible-cipher|cipher|simple){_S}(?:plain{_S})?"
        rf"(?!aes|3?des|chacha|tls|ssl|suite|rc4){PLAIN}{VALUE}",
    ),
    ("huawei_cipher", "irreversible-cipher", rf"\birreversible-cipher{_S}{VALUE}"),
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
        rf"{_S}){{0,4}}{SECRET}",
    ),
    ("pre_shared_key", "key", rf"\b(?:isakmp|ike|ikev1|ikev2){_S}key{_S}{SECRET}"),
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
        rf"\b(?:hello-)?authentication-key{_S}(?!\d{{1,10}}{_S}type{_S}\S{{1,20}}{_O}\r?$)"
        rf"(?:\d{{1,10}}{_S}(?:type{_S}\S{{1,20}}{_S})?value{_S}|\d{{1,10}}{_S}(?:md5|sha\S{{0,12}}|hmac-\S{{1,20}}|cmac-\S{{1,20}}|aes\S{{0,12}})"
        rf"{_S})?{SECRET}",
    ),
    (
        "routing_key",
        "digest-key",
        rf"\bmessage-digest-key{_S}\d{{1,10}}{_S}(?:md5|hmac-\S{{1,20}}|sha\S{{0,12}}){_S}{SECRET}",
    ),
    ("routing_key", "key-string|key-octet-string", rf"\bkey-(?:octet-)?string{_S}(?:password6?{_S})?{SECRET}"),
    ("routing_key", "authentication", rf"\bauthentication{_S}key{_S}(?:eigrp{_S}\d{{1,10}}{_S})?{SECRET}"),
    (
        "routing_key",
        "authentication-mode",
        rf"\bauthentication-mode{_S}(?:simple|md5|hmac-\S{{1,20}}|sha\S{{0,12}}){_S}(?:\d{{1,3}}{_S})?{SECRET}",
    ),
    ("routing_key", "nhrp", rf"\bnhrp{_S}authentication{_S}{SECRET}"),
    *(
        (
            "routing_key",
            "spi",
            rf"\bspi{_S}\d{{1,10}}{_S}{before}(?:md5|sha\S{{0,8}}|3?des|aes\S{{0,10}}(?:{_S}\d{{3}})?){_S}(?:[07]{_S})?"
            r"([0-9A-F]{16,400})\b",
        )
        for before in ("", rf"esp{_S}", rf"esp{_S}[^\n]{{1,400}}?{_S}")
    ),
    # `show key chain`.
    ("routing_key", "-- text", rf"\bkey{_S}\d{{1,10}}{_S}-- text{_S}{VALUE}"),
    # MACsec: the name of a key, then the key.
    ("routing_key", "key", rf"\bkey{_S}[0-9A-F]{{2,64}}{_S}(?:0|7|8a){_S}{VALUE}"),
    ("routing_key", "pmk", rf"\bsap{_S}pmk{_S}{VALUE}"),
    ("routing_key", "md5", rf"\bmd5{_S}\d{{1,10}}{_S}key{_S}{VALUE}"),
    (
        "routing_key",
        "authentication",
        rf"\b(?:standby|vrrp|glbp){_S}(?:\d{{1,5}}{_S})?authentication{_S}(?!md5\b)(?:text{_S})?{SECRET}",
    ),
    ("routing_key", "authentication", rf"\bauthentication{_S}(?:text|string){_S}{SECRET}"),
    ("routing_key", "hmac-", rf"\bmode{_S}hmac-\S{{1,20}}{_S}{SECRET}"),
    ("routing_key", "password", rf"\b(?:lsp|hello|domain|area)-password{_S}(?:(?:hmac-md5|text|accept){_S})?{SECRET}"),
    ("routing_key", "password", rf"\b(?:neighbor|peer|isis){_S}(?:\S{{1,100}}{_S}){{0,4}}?password{_S}{SECRET}"),
    ("routing_key", "password", rf"\bpassword{_S}peer{_S}\S{{1,100}}{_S}{SECRET}"),
    # Wireless networks.
    ("wireless_key", "psk", rf"\bwpa2?-psk{_S}{SECRET}"),
    ("wireless_key", "set-key", rf"\bset-key{_S}(?:ascii|hex){_S}{SECRET}"),
    ("wireless_key", "wpa|passphrase|pass-phrase", rf"\b(?:wpa-(?:passphrase|hexkey)|pass-?phrase){_S}{SECRET}"),
    ("wireless_key", "size", rf"\bkey{_S}\d{{1,2}}{_S}size{_S}\d{{2,4}}-?bit{_S}{SECRET}"),
    # Point-to-point links, services, users.
    (
        "ppp_password",
        "password",
        rf"\b(?:chap|pap|ms-chap|ms-chap-v2|eap|tunnel|sent-username{_S}\S{{1,100}}){_S}password{_S}{SECRET}",
    ),
    (
        "service_password",
        "password|secret",
        rf"\b(?:ftp|vtp|client|http|ldap|smtp|digest){_S}(?:password|secret){_S}{SECRET}",
    ),
    (
        "service_password",
        "password|passwd|passphrase|secret",
        rf"(?<![<:\w-])\w[\w-]{{0,40}}-(?:passwords?|passwd|passphrase|secret){_S}{SECRET}",
    ),
    (
        "user_password",
        "password|secret",
        rf"\b(?:username|local-user|bsd-username){_S}\S{{1,100}}{_S}(?:\S{{1,60}}{_S}){{0,6}}?(?:sha256-)?(?:password|secret)"
        rf"{_S}{SECRET}",
    ),
    (
        "user_password",
        "password",
        rf"\bpassword{_S}(?:manager|operator)\b[^\n]{{0,100}}?\b(?:sha1|sha-256|plaintext){_S}{VALUE}",
    ),
    ("user_password", "mgmt-user", rf"\bmgmt-user{_S}\S{{1,100}}{_S}\S{{1,60}}{_S}{VALUE}"),
    # Anywhere, if nothing follows: lines of a configuration end with their secret, unlike most sentences. A word in
    # lower case is one only in a line that begins as those of a configuration do.
    (
        "line_password",
        "password|passwd|secret|passphrase",
        rf"(?<![\w<:-])(?:password|passwd|secret|passphrase){_S}(?!(?-i:[a-z]{{1,20}}[.?!\"']{{0,2}}){_O}\r?$){SECRET}{END}",
    ),
    (
        "line_password",
        "password|passwd|secret|passphrase",
        rf"^(?:set{_S}|[ \t]|\S{{1,100}}[#>])(?:(?!\bdescription\b)[^\n]){{0,400}}?(?<![\w<:-])"
        rf"(?:password|passwd|secret|passphrase){_S}{SECRET}{END}",
    ),
    (
        "line_password",
        "password|passwd|secret",
        rf"{BEGIN}(?:password|passwd|secret){_S}{SECRET}"
        rf"(?={_O}(?:(?:encrypted|hash2?|pbkdf2)\b[^\n]{{0,60}})?\r?$)",
    ),
    # Hashed or obfuscated secrets of any vendor, anywhere in a line.
    (
        "password_hash",
        "$",
        r"(?<![\w$])(\$(?:\d{1,2}[a-z]?|2[abxy]|[chy]|apr1|sha\d{1,3}|pbkdf2-\w{1,12}|argon2\w{1,2})\$[^\s\"';,<]{8,1000})",
    ),
]
