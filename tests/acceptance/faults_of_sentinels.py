"""Faults of the Sentinels, as the troubleshooting chapter lists them."""

from tests.acceptance.bench_of_faults import Bench
from tests.acceptance.cluster import Cluster
from tests.acceptance.diagnosis import doctor, fault, faults, reason
from tests.acceptance.ha import command
from tests.controller import until
from tests.valkey import Sentinel, SentinelCluster, Valkey


def sentinels_do_not_reach_a_node(bench: Bench) -> None:
    with SentinelCluster() as sentinels:
        sentinels.nodes[1].kill()
        lost = f"127.0.0.1:{sentinels.nodes[1].port}"

        def told() -> bool:
            found = doctor(bench.first, VALKEY_URL="", VALKEY_SENTINEL_URL=sentinels.url)
            return any(lost in each["what"] and each["topic"] == "Replicas" for each in faults(found))

        until(told, "the finding of the replica", 60)


def wrong_master_name(bench: Bench) -> None:
    with SentinelCluster() as sentinels:
        changed = {"VALKEY_URL": "", "VALKEY_SENTINEL_URL": sentinels.url, "VALKEY_SENTINEL_MASTER_NAME": "MyMaster"}
        found = doctor(bench.first, **changed)
        told = fault(found, "Sentinels", "watch no primary named 'MyMaster'", "VALKEY_SENTINEL_MASTER_NAME")
        assert "'mymaster'" in told["what"]
        assert [each["topic"] for each in faults(found) if each["topic"] in ("Sentinels", "Valkey")] == ["Sentinels"]
        with bench.started("degraded", **changed) as controller:
            reason(controller, "MyMaster", "VALKEY_SENTINEL_MASTER_NAME")
        # A Sentinel is not a Valkey server.
        wrong = f"redis://127.0.0.1:{sentinels.sentinels[0].port}"
        fault(doctor(bench.first, VALKEY_URL=wrong), "Valkey", "is a Sentinel", "VALKEY_SENTINEL_URL")
        with bench.started("degraded", VALKEY_URL=wrong) as controller:
            reason(controller, "is a Sentinel", "VALKEY_SENTINEL_URL")


def too_few_sentinels(bench: Bench) -> None:
    valkey = Valkey().start()
    sentinel = Sentinel(valkey.port).start()
    try:
        found = doctor(bench.first, VALKEY_URL="", VALKEY_SENTINEL_URL=f"redis://127.0.0.1:{sentinel.port}")
        fault(found, "Sentinels", "there are only 1 Sentinels", "at least 3")
    finally:
        sentinel.destroy()
        valkey.destroy()


def failover_does_not_trigger(bench: Bench) -> None:
    with SentinelCluster() as sentinels:
        for each in sentinels.sentinels[:2]:
            each.kill()

        def told() -> bool:
            found = doctor(bench.first, VALKEY_URL="", VALKEY_SENTINEL_URL=sentinels.url)
            fault(found, "Sentinels", "only 1 of 3 answer", "start the others")
            return any("NOQUORUM" in each["what"] for each in faults(found))

        until(told, "the missing quorum", 60)


def after_a_failover(bench: Bench) -> None:
    with SentinelCluster() as sentinels, Cluster(bench.postgres, 1, sentinels) as cluster:
        [controller] = cluster.controllers
        former = cluster.valkey
        former.kill()
        until(lambda: cluster.valkey is not former, "the failover", 60)
        primary = f"127.0.0.1:{cluster.valkey.port}"
        until(lambda: f"answers at {primary}" in str(doctor(controller)), "the new primary in the doctor's words", 60)
        until(lambda: controller.health().get("valkey") == "connected", "the connection", 60)
        until(lambda: "sentinel.primary" in controller.log(), "the line of the log")
        api = controller.login()

        def event() -> bool:
            found = [each for each in api.get("/api/v1/ha/status")["events"] if each["kind"] == "failover"]
            return any(each.get("address") == primary for each in found)

        until(event, "the event of the failover", 60)

        def is_shown() -> bool:
            shown = command(controller, "ha", "status").stdout
            views = shown.count(f": the primary is {primary}\n")
            return views == len(sentinels.sentinels) and f" to {primary}\n" in shown and "Last failover " in shown

        until(is_shown, "the failover and the views of the Sentinels on the command line", 60)
