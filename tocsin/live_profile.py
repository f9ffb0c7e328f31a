"""The scheduler's profile, mode and weights as they are now, and how they came to be so."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from streams.notifications.priority import Priority
from streams.settings import ConfigurationError, ModeName, ProfileName, Settings, load_settings
from tables.views.sources import ChangeRefusedError, ProfileSource

log = logging.getLogger(__name__)


class LiveProfile:
    """Changes weights and mode while the worker runs. A change holds for this worker, until it ends.

    Args:
        settings: as at start.
        apply: takes over the weights and the mode of settings, at once.
        clock: the time in seconds since 1970.
    """

    def __init__(
        self,
        settings: Settings,
        apply: Callable[[Settings], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self._apply = apply
        self._clock = clock
        #: Seconds since 1970 of the last change.
        self.since = clock()
        self.source: ProfileSource = "start"
        #: Changes since the start, by source.
        self.changes: dict[ProfileSource, int] = {"settings": 0, "call": 0}

    def reload(self) -> None:
        """Read the settings again and take over profile, mode and weights; other changes need a restart."""
        try:
            fresh = load_settings(config_file=self.settings.config_file)
        except ConfigurationError as error:
            log.error("The settings were not reloaded: %s", error)  # noqa: TRY400 - the reason is in the line
            return
        self._take(fresh.profile, fresh.mode, fresh.weights, "settings")

    def change(
        self,
        *,
        profile: ProfileName | None = None,
        mode: ModeName | None = None,
        weights: Mapping[Priority, float] | None = None,
    ) -> None:
        """Take over what is given; the rest stays as it is, unless a given profile says otherwise.

        Raises:
            ChangeRefusedError: a weight of a priority that this worker does not serve; nothing changes.
        """
        now = self.settings
        weights = weights or {}
        if strange := [priority for priority in weights if priority not in now.priorities]:
            raise ChangeRefusedError(
                f"This worker does not serve {strange[0].lower()}; give weights of "
                f"{', '.join(now.priorities).lower()} only."
            )
        if profile is None:
            self._take(now.profile, mode or now.mode, {**now.weights, **weights}, "call")
        else:
            self._take(profile, mode, weights, "call")

    def _take(
        self,
        profile: ProfileName,
        mode: ModeName | None,
        weights: Mapping[Priority, float],
        source: ProfileSource,
    ) -> None:
        fresh = self.settings.model_copy(update={"profile": profile, "mode": mode, "weights": dict(weights)})
        self._apply(fresh)
        self.settings = fresh
        self.since, self.source = self._clock(), source
        self.changes[source] += 1
        log.info(
            "Weights are now %s, in %s order (changed by %s).",
            ", ".join(f"{p.lower()}={w:g}" for p, w in fresh.effective_weights.items()),
            fresh.effective_mode,
            "SIGHUP" if source == "settings" else "a call",
        )
