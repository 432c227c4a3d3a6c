"""The clock skew of peers, measured by the time stamps of their answers."""

import math
import time
from collections.abc import Collection, Mapping

# The send time of a slower answer is too uncertain.
_QUICK_ANSWER_SECS = 1.0


class PeerClocks:
    """The skew of each peer's clock against this host's in seconds; positive when the peer is ahead."""

    def __init__(self) -> None:
        self._skews: dict[str, float] = {}

    @property
    def skews(self) -> Mapping[str, float]:
        """The newest measurement of each peer, by instance id."""
        return dict(self._skews)

    def note(self, peer_id: str, stamp: str | None, took_secs: float) -> None:
        """Measures by an answer with the peer's time `stamp` that arrived `took_secs` after the request.

        The stamp is compared with the middle of the request. An answer without a valid stamp is ignored.
        """
        now = time.time()
        try:
            stamped_at = float(stamp or "")
        except ValueError:
            return
        if math.isfinite(stamped_at) and took_secs <= _QUICK_ANSWER_SECS:
            self._skews[peer_id] = stamped_at - (now - took_secs / 2)

    def keep_only(self, peer_ids: Collection[str]) -> None:
        """Forgets the peers that have left."""
        self._skews = {peer_id: skew for peer_id, skew in self._skews.items() if peer_id in peer_ids}
