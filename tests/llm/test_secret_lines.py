"""Redaction: lines of many vendors. Test_redaction.py has a line for the name of each kind of secret."""

import json
import re

import pytest

from netstacks.llm.redaction import Redactor
from netstacks.store.sanitization import SanitizationConfig

# «the secret» stands where the placeholder must be. `\n` separates the lines of one text.
SECRETS = r"""
enable algorithm-type scrypt secret «Hunter2»
R1(config-line)#password «cisco»
RP/0/RSP0/CPU0:r1(config-un)#secret «Hunter2»
 vpdn password «cisco»
crypto pki import X pkcs12 flash:x.p12 password «Hunter2»
 cts credentials id X password «Hunter2»
 cts sxp default password «Hunter2»
 sap pmk «1234abcdef» mode-list gcm-encrypt
 server-key «Hunter2»
 client 10.0.0.1 server-key «Hunter2»
 pac key 6 «FLgBaJHXdYY_AcHZZMgQ_RhTDJXHUBAAB»
 address ipv4 10.0.0.1 key «Hunter2»
 ipv4 etr map-server 10.0.0.1 key «Hunter2»
 ip nhrp authentication «Hunter2»
 mpls ldp neighbor vrf X 10.0.0.1 password «Hunter2»
 ospfv3 authentication ipsec spi 500 md5 0 «27576134094768132473302031209727»
 ipv6 ospf encryption ipsec spi 1001 esp null sha1 «123456789A123456789B123456789C123456789D»
 ipv6 ospf encryption ipsec spi 1 esp aes-cbc 128 «0123456789ABCDEF01» sha1 «0123456789ABCDEF02»
license smart register idtoken «MTI4ZGU4ZWQtYjI2ZC00MTQ5» force
aaa-server T (inside) host 10.0.0.1 «Hunter2» timeout 5
 authentication key eigrp 1 «Hunter2» key-id 1
  key-octet-string 7 «070c285f4d06070c285f4d06» cryptographic-algorithm AES_128_CMAC
 key-string password6 «44634b6154»
set snmp v3 snmp-community idx community-name "«Hunter2»"
set system ntp authentication-key 1 type md5\nset system ntp authentication-key 1 value "«Hunter2»"
    authentication-key 1 type md5 value "«$9$Be4EhyVb2GDkevYo»"; ## SECRET-DATA
        10.0.0.1 secret "«cisco»";
radius-server key 8a «$abcd1234efgh»
   neighbor 10.0.0.1 password 8a «AbCd1234EfGh5678==»
   isis authentication key «Hunter2»
   key 0abcdef1 7 «0822455D0A16»
   shared-key «Hunter2»
   exec /usr/bin/TerminAttr -ingestauth=key,«Hunter2» -taillogs
        set key "«Hunter2»"
        set md5-key "«Hunter2»"
        set auth-token "«Hunter2»"
config system snmp community\n    edit 1\n        set name "«public»"\n    next\nend\nset name "x"
set mgt-config users admin phash "«fnRL/G5lXVMug»"
set shared server-profile radius R server S secret «cisco»
set deviceconfig system snmp-setting access-setting version v3 users u authpwd «Hunter2»
set shared log-settings snmptrap S version v2c server X community «Hunter2»
<snmp-community-string>«Hunter2»</snmp-community-string>
<ns0:bind-password type="x">«Hunter2»</ns0:bind-password>
/snmp community\nset [ find default=yes ] name=«public»\n/system identity\nset name=R1
[admin@R1] /snmp/community> set 0 name=«public»
/routing bgp connection add tcp-md5-key=«Hunter2» name=x
            key "«Hunter2»" hash2
                entry 0 key "«Hunter2»" hash2 algorithm hmac-md5
            authentication hmac-md5-96 «abcdef0123abcdef» privacy des «0123abcdef012345»
            authentication md5 «0x8d9f4e3a2b1c0d» privacy aes-128-cfb-key «0x1234abcd56»
 snmp-agent target-host trap address udp-domain 10.0.0.1 params securityname «Hunter2» v2c
 vrrp vrid 1 authentication-mode simple plain «Hunter2»
 ntp-service authentication-keyid 1 authentication-mode md5 «Hunter2»
snmpv3 user "bob" auth md5 "«Hunter2»" priv "«Hunter3»"
snmpv3 user bob auth sha auth-pass plaintext «Hunter2» priv aes priv-pass plaintext «Hunter3»
configure snmpv3 add community encrypted "«Hunter2»" name encrypted "«Hunter3»" user v1v2c_rw
configure snmp add community readonly «public»
configure snmpv3 add user bob authentication sha auth-encrypted localized-key «23:24» privacy aes localized-key «25»
1.1.1.1 2.2.2.2 : PSK "«Hunter2»"
com2sec -Cn ctx notConfigUser default «public»
createUser bob SHA "«Hunter2»" AES «Hunter3»
trap2sink 10.0.0.1 «public»
      auth_pass «Hunter2»
snmpget -v3 -u bob -l authPriv -a SHA -A «Hunter2» -x AES -X «Hunter3» 10.0.0.1 x
curl -sS -u bob:«Hunter2» https://x/
Cookie: sid=«abcdef0123456789»
Authorization: Bearer «abcdef»
{"community": "«public»"}
 Community Name    : «public»
Community Index: «public»
    key 1 -- text "«cisco»"
Community     Group / Access  context\n---------     --------------  -------\n«public»  network-operator\n\nR1#
Keyring  Hostname/Address    Preshared Key\n\nR1#
Keyring  Hostname/Address    Preshared Key\ndefault  10.0.0.1  «cisco»\ndefault  10.0.0.2  «C1sco»\nR1#show x
my password is «Hunter2»
Set the enable secret to «hunter2» on r1.
The user is bob, his password «hunter2» is new.
The user is bob, his password «shadow1» is new.
*Mar  1 00:00:00.000: %PARSER-5-CFGLOG_LOGGEDCMD: User:bob  logged command: key «cisco»
snmp:\n  community: «public»
«-----BEGIN OpenVPN Static key V1-----\nabcdef\n-----END OpenVPN Static key V1-----»
«---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nabcdef\n---- END SSH2 ENCRYPTED PRIVATE KEY ----»
"""
OTHERS = r"""
 cts sxp connection peer 10.0.0.1 password default mode peer speaker
  password disable
 description link to secret bunker
set interfaces ge-0/0/0 description "secret link"
 ip authentication mode eigrp 1 md5
 ip ospf authentication key-chain KC
set system ntp authentication-key 1 type md5
 spi: 0x1A2B3C4D(439041101)
 key-hash ssh-rsa AA11BB22CC33DD44EE55FF66AA77BB88 bob
verify /md5 (flash:x.bin) = d41d8cd98f00b204e9800998ecf8427e
      Community: 65000:100 65000:200
      Community: no-export
  community: 65000:100
username bob secret sha512 ****
"community": ["65000:100", "no-export"],
 match community CL1
config firewall policy\n    edit 1\n        set name "allow"\n    next\nend
/interface bridge\nadd name=bridge1
 authentication-mode password
crypto key zeroize rsa
show running-config | include password|secret
How do I reset the password now?
Then use the secret word.
Is the password wrong, or is the password locked?
Press any key to continue
curl -u bob https://x/
"""


def shown(text: str) -> str:
    redactor = Redactor(SanitizationConfig(), ())
    return redactor.placeholders.pattern.sub("<>", redactor.redact(text))


@pytest.mark.parametrize("line", SECRETS.strip("\n").split("\n"))
def test_a_secret_of_any_vendor_is_taken_out(line: str) -> None:
    text = line.replace("\\n", "\n")
    expected = re.sub(r"«[^»]*»", lambda secret: "<>" + "\n" * secret[0].count("\n"), text)
    assert shown(re.sub("[«»]", "", text)) == expected


def test_a_section_in_json_is_read() -> None:
    text = json.dumps({"output": 'config system snmp community\n    edit 1\n        set name "publ1c"\n    next\nend'})
    assert shown(text) == text.replace("publ1c", "<>")


@pytest.mark.parametrize("line", OTHERS.strip("\n").split("\n"))
def test_a_line_without_a_secret_stays(line: str) -> None:
    text = line.replace("\\n", "\n")
    assert shown(text) == text
