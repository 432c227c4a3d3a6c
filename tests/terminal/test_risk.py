"""What a session would lose with its SSH connection: prompts of configuration modes, confirmed commits, output."""

import pytest

from netstacks.terminal.risk import is_configuring, pending_change, risk_of

CONFIGURING = [
    ("Cisco IOS", "R1(config)#"),
    ("Cisco IOS, interface", "core-sw.lab(config-if)# "),
    ("Cisco IOS, a command half typed", "R1(config)#interface Gi0/1"),
    ("Cisco IOS XR", "RP/0/RP0/CPU0:PE1(config-bgp-nbr)#"),
    ("Cisco ASA", "asa/pri/act(config)# "),
    ("Arista EOS session", "leaf-1(config-s-sess1)#"),
    ("Dell OS10", "OS10(conf-if-eth1/1/1)#"),
    ("Junos", "[edit]\nlab@mx204# "),
    ("Junos below", "[edit interfaces ge-0/0/0 unit 0]\nlab@mx204-re0# set fam"),
    ("Junos, dual engine", "{master}[edit]\nlab@mx204-re0# "),
    ("PAN-OS", "[edit]\nadmin@PA-220# "),
    ("VyOS", "[edit]\nvyos@vyos# "),
    ("Nokia SR OS classic", "*A:PE1>config>router>bgp# "),
    ("Nokia SR OS classic, clean", "A:PE1>config# "),
    ("Nokia SR OS MD-CLI", '*(ex)[/configure router "Base"]\nA:admin@PE1# '),
    ("Nokia SR OS MD-CLI private", "(pr)[/configure]\nA:admin@PE1# "),
    ("Nokia SR Linux", "--{ * candidate shared default }--[ interface ethernet-1/1 ]--\nA:leaf1# "),
    ("Huawei VRP8, uncommitted", "[*HUAWEI-GE1/0/0]"),
    ("Huawei VRP8", "[~HUAWEI]"),
    ("Huawei VRP5", "[HUAWEI]"),
    ("H3C Comware", "[H3C-Vlan-interface10]"),
    ("FortiOS", "FGT60F (global) # "),
    ("FortiOS below", "FGT60F (port1) # "),
    ("RouterOS safe mode", "[admin@MikroTik] <SAFE> "),
    ("RouterOS safe mode below", "[admin@MikroTik] /ip/address <SAFE> "),
]
NOT_CONFIGURING = [
    ("a root shell", "root@server:~# "),
    ("a root shell below a bracket", "[edit me]\nroot@server:~$ "),
    ("a root shell of Red Hat", "[root@server ~]# "),
    ("a virtual environment", "(venv) root@server:~# "),
    ("a virtual environment of fish", "(config) root@server ~# "),
    ("Cisco exec", "R1#"),
    ("Cisco exec after the mode", "R1(config)#end\nR1#"),
    ("Junos operational", "lab@mx204> "),
    ("Nokia exec", "A:PE1# "),
    ("Nokia MD-CLI read-only", "(ro)[/configure]\nA:admin@PE1# "),
    ("Nokia MD-CLI operational", "[/]\nA:admin@PE1# "),
    ("SR Linux running", "--{ running }--[ ]--\nA:leaf1# "),
    ("Huawei user view", "<HUAWEI>"),
    ("FortiOS exec", "FGT60F # "),
    ("RouterOS", "[admin@MikroTik] > "),
    ("a password prompt", "[sudo] password for ana: "),
    ("a command that runs in the mode", "R1(config)#do show run\nBuilding configuration...\n"),
    ("a table", "| up (config)# | x |"),
    ("nothing", ""),
]


@pytest.mark.parametrize(("name", "text"), CONFIGURING, ids=[name for name, _ in CONFIGURING])
def test_a_configuration_mode_is_known_by_its_prompt(name: str, text: str) -> None:
    assert is_configuring(["Welcome", *text.split("\n")])


@pytest.mark.parametrize(("name", "text"), NOT_CONFIGURING, ids=[name for name, _ in NOT_CONFIGURING])
def test_other_prompts_are_no_configuration_mode(name: str, text: str) -> None:
    assert not is_configuring(["Welcome", *text.split("\n")])


PENDING = [
    (["lab@mx# commit confirmed 5", "commit complete"], "5 minutes after `commit confirmed`"),
    (["lab@mx# commit confirmed"], "10 minutes after `commit confirmed`"),
    (["lab@mx# commit confirmed 1 and-quit"], "1 minute after"),
    (["RP/0/RP0/CPU0:PE1(config)#commit confirmed 90"], "90 s after `commit confirmed`"),
    (["RP/0/RP0/CPU0:PE1(config)#commit confirmed minutes 5"], "5 minutes after"),
    (["lab@mx# commit", "lab@mx# commit confirmed 7"], "7 minutes after"),
    (["RP/0/RP0/CPU0:PE1(config)#commit confirmed"], "rolls it back by itself"),
    (["R1#configure terminal revert timer 15"], "reverts its configuration 15 minutes after"),
    (["R1#conf t revert timer idle 3"], "configuration 3 minutes after"),
    (["R1#reload in 10", "Reload scheduled in 10 minutes by ana"], "restarts 10 minutes after"),
    (["R1#reload in 1:30"], "restarts 90 minutes after"),
]
NOT_PENDING = [
    ["lab@mx# commit confirmed 5", "commit complete", "lab@mx# commit"],
    ["lab@mx# commit confirmed 5", "lab@mx# commit check"],
    ["lab@mx# commit confirmed 5", "Commit was not confirmed; automatic rollback complete."],
    ["R1#configure terminal revert timer 15", "R1(config)#end", "R1#configure confirm"],
    ["R1#reload in 10", "R1#reload cancel"],
    ["R1#reload in 10", "***  --- SHUTDOWN ABORTED ---"],
    ["Use commit confirmed 5 before you leave", "The backup relies on reload in 10"],
    [],
]


@pytest.mark.parametrize(("lines", "told"), PENDING)
def test_a_change_that_the_device_takes_back_by_itself_is_named_with_its_time(lines: list[str], told: str) -> None:
    pending = pending_change(lines)
    assert pending is not None
    assert told in pending.text()


@pytest.mark.parametrize("lines", NOT_PENDING)
def test_a_confirmed_or_cancelled_change_is_no_risk(lines: list[str]) -> None:
    assert pending_change(lines) is None


def kind_of(output: bytes, silent_secs: float = 60.0) -> str | None:
    risk = risk_of(output, silent_secs)
    return risk.kind if risk else None


def test_the_gravest_risk_counts() -> None:
    commit = b"[edit]\r\nlab@mx# commit confirmed 5\r\ncommit complete\r\n\r\n[edit]\r\nlab@mx# "
    assert kind_of(commit) == "commit-confirmed"
    assert kind_of(commit + b"commit\r\ncommit complete\r\n\r\n[edit]\r\nlab@mx# ") == "configuration"
    assert kind_of(b"R1#show tech\r\n....") is None
    assert kind_of(b"R1#show tech\r\n....", silent_secs=0.5) == "output"


def test_with_the_time_of_the_command_the_time_of_the_rollback_is_known() -> None:
    pending = pending_change(["lab@mx# commit confirmed 5"])
    assert pending is not None
    assert "rolls it back at 00:05:07 UTC, unless" in pending.text(began_at=7.0)


def test_the_line_of_the_command_is_found_in_the_output() -> None:
    before = b"hello\r\n[edit]\r\n"
    risk = risk_of(before + b"lab@mx# \x1b[1mcommiy\b \bt confirmed 5\x1b[0m\r\ncommit complete\r\nlab@mx> ", 60.0)
    assert risk is not None
    assert (risk.kind, risk.offset) == ("commit-confirmed", len(before))


def test_a_confirmed_commit_that_is_known_to_be_over_is_no_risk() -> None:
    output = b"lab@mx# commit confirmed 5\r\nlab@mx> "
    assert risk_of(output, 60.0, has_pending=False) is None


def test_a_command_that_was_not_entered_is_no_risk() -> None:
    assert kind_of(b"lab@mx> \r\nlab@mx# commit confirmed 5") is None


def test_colours_and_overwritten_text_do_not_hide_a_prompt() -> None:
    assert kind_of(b"\x1b[32mR1(config)#\x1b[0m") == "configuration"
    assert kind_of(b" --More-- \r         \rR1(config-if)#") == "configuration"
    assert kind_of(b"R1(config)#\r\x1b[KR1#") is None


def test_output_that_begins_in_the_middle_of_a_character_is_read() -> None:
    assert kind_of(b"\x82\xac" + "ä".encode() * 5000 + b"\r\nR1(config)#") == "configuration"
