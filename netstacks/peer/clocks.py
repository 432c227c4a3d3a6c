"""The clocks of peers, as their answers tell them."""

import math
import time
from collections.abc import Collection, Mapping

# A slow answer does not tell when it was written.
_QUICK_ANSWER_SECS = 1.0


class PeerClocks:
    """How far each peer's clock is ahead of this host's, in seconds; behind is negative."""

    def __init__(self) -> None:
        self._skews: dict[str, float] = {}

    @property
    def skews(self) -> Mapping[str, float]:
        """The newest measurement of each peer, by instance id."""
        return dict(self._skews)

    def note(self, peer_id: str, stamp: str | None, took_secs: float) -> None:
        """Takes an answer that was stamped with the peer's time and came `took_secs` after the request.

        The peer's time is compared with the middle of the request. An answer without a stamp says nothing.
        """
        now = time.time()
        try:
            told_at = float(stamp or "")
        except ValueError:
            return
        if math.isfinite(told_at) and took_secs <= _QUICK_ANSWER_SECS:
            self._skews[peer_id] = told_at - (now - took_secs / 2)

    def keep_only(self, peer_ids: Collection[str]) -> None:
        """Forgets the peers that have left."""
        self._skews = {peer_id: skew for peer_id, skew in self._skews.items() if peer_id in peer_ids}
