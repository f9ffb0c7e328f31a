"""The server of the web views."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CollectorRegistry

from streams.listening import BACKLOG, listening_sockets, why_not_listening
from streams.settings import ConfigurationError, Settings
from streams.settings.addresses import WILDCARDS, host_in_url, reachable_host
from tables.views.access import Access
from tables.views.alerts_api import AlertsApi
from tables.views.answers import TAG, Answer, Answers, answered, tag
from tables.views.api import CHANGE_ROUTE, Api
from tables.views.changes import Changes
from tables.views.combined_counts import CombinedCounts
from tables.views.connections import Connections
from tables.views.counts_query import BadQueryError
from tables.views.dead_letters import REPLAY_ROUTE, DeadLetters, DeadLettersApi
from tables.views.events import Events
from tables.views.feed_views import FeedViews
from tables.views.healthz import HEALTHZ_PATHS, Healthz, ask
from tables.views.live_counts import LiveCounts
from tables.views.live_matrix import LiveMatrix
from tables.views.live_stream import LiveStream
from tables.views.matrix_api import MatrixApi
from tables.views.metrics import Metrics, WebStats, make_registry
from tables.views.openapi import OpenApi
from tables.views.page_changes import PageChanges
from tables.views.pages.alerts import AlertsPage
from tables.views.pages.api_reference import ApiReferencePage
from tables.views.pages.counts import CountsPage
from tables.views.pages.dead_letters import FORM_ROUTE, DeadLettersPage
from tables.views.pages.event_type import EventPage
from tables.views.pages.files import Files
from tables.views.pages.flow import FlowPage
from tables.views.pages.layout import Layout
from tables.views.pages.overview import OverviewPage
from tables.views.pages.problem import ProblemPages
from tables.views.pages.templating import make_environment
from tables.views.prefix import Prefix
from tables.views.problems import Problem, harden, problem_response, route_of
from tables.views.sign_in import OPEN_ROUTES, SignIn
from tables.views.sources import (
    AlertsSource,
    CountsSource,
    DeadLettersSource,
    FleetSource,
    Health,
    HubStats,
    SchedulerSource,
    Sources,
    Stalls,
)
from tables.views.worker_stats import WorkerStats
from tables.views.workers_call import WorkersCall

log = logging.getLogger(__name__)

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

#: Routes that do not ask for the web token: the health checks, those that ask for another, and signing in.
_OWN_RULES = {path[1:] for path in HEALTHZ_PATHS} | {CHANGE_ROUTE, REPLAY_ROUTE, FORM_ROUTE} | OPEN_ROUTES
#: Types of what browsers keep besides answers of the API: the page, and its files.
_KEPT_TYPES = frozenset({"text/html", "text/css", "text/javascript", "image/svg+xml"})
#: Pages and files that are kept packed, and their bytes together.
_MOST_PAGES, _MOST_PAGE_BYTES = 32, 4 * 2**20
#: Seconds that stopping waits for answers under way.
_SHUTDOWN_S = 2.0


class ViewServer:
    """Serves the page, the API, the metrics and the health checks in the event loop that runs.

    Args:
        settings: address, tokens and names of the web views are used.
        counts: the counts to show.
        scheduler: the classes to show.
        health: what the health checks ask.
        stats: what the metrics read.
        stalls: of the event loop.
        alerts: the alerts to show.
        hub: what it was told of.
        dead_letters: the dead letters to show and to replay.
        fleet: all workers; None for none.
        registry: for ``/metrics``; by default one with the metrics of what is served.
        of_worker: whether a worker is shown; else only the counts, and what reads them.
        clock: the time in seconds since 1970.
    """

    def __init__(
        self,
        settings: Settings,
        counts: CountsSource,
        scheduler: SchedulerSource,
        health: Health,
        stats: WorkerStats,
        stalls: Stalls,
        alerts: AlertsSource,
        hub: HubStats,
        dead_letters: DeadLettersSource,
        *,
        fleet: FleetSource | None = None,
        registry: CollectorRegistry | None = None,
        of_worker: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._access = access = Access(settings, clock)
        sources = self._sources = Sources(
            settings, counts, scheduler, health, stats, stalls, alerts, hub, dead_letters, clock
        )
        if fleet is not None:
            sources.fleet = fleet
        live = LiveCounts(CombinedCounts(counts, sources.fleet), clock)
        matrix = LiveMatrix(counts, live)
        self.app = web.Application(middlewares=[self._answer], client_max_size=1024)
        self.stream = LiveStream(live, settings.web_live_clients, others=lambda: self.changes.readers)
        answers = Answers()
        changes = Changes(access)
        self.prefix = Prefix(settings)
        environment = make_environment()
        layout = Layout(sources, live, environment, access.is_session, of_worker=of_worker)
        letters = self._letters = DeadLetters(sources, changes)
        self.changes = PageChanges(self._shown_now, self.stream.is_full_with, access.going_on)
        sources.web = WebStats(self.stream, self.changes, answers, changes)
        self._sign_in = SignIn(access, self.prefix, environment)
        self._problem_pages = ProblemPages(layout, environment, access, self.prefix)
        parts = (
            Api(sources, live, answers, changes, of_worker=of_worker),
            MatrixApi(live, matrix, answers),
            WorkersCall(sources, live, answers),
            AlertsApi(sources, layout.alerts, answers, self.prefix),
            Events(self.stream, access.going_on),
            OpenApi(self.prefix, of_worker=of_worker),
            ApiReferencePage(layout, of_worker=of_worker),
            FeedViews(sources, live.lane, self.prefix),
            OverviewPage(layout, of_worker=of_worker),
            CountsPage(layout, matrix),
            EventPage(layout),
            FlowPage(layout),
            AlertsPage(layout),
            DeadLettersApi(letters, live.lane),
            DeadLettersPage(layout, letters, access),
            self.changes,
            Files(),
            self._sign_in,
            Healthz(health, self._access.trusts),
            Metrics(registry or make_registry(sources, of_worker=of_worker), live.lane),
        )

        def add_routes(router: web.UrlDispatcher) -> None:
            for part in parts:
                part.add_to(router)

        add_routes(self.app.router)
        self.prefix.add_to(self.app, add_routes)
        self._pages = Answers(_MOST_PAGES, _MOST_PAGE_BYTES)
        self._runner: web.AppRunner | None = None
        #: Set while it runs.
        self.connections: Connections | None = None
        self._servers: list[asyncio.Server] = []
        self._address: str | None = None

    def _shown_now(self) -> tuple[object, ...]:
        """What pages are made of; another value once there is something new."""
        sources = self._sources
        ready, live = ask(sources.health.ready), ask(sources.health.live)
        return (
            sources.counts.totals.applied,
            sources.counts.complete,
            sources.alerts.changes,
            sources.fleet.moment(),
            (ready.ok, *ready.reasons, live.ok, *live.reasons),
            sum(sources.stats.dead_letters.values()),
            self._letters.changes.counts.total(),
        )

    def show(self, scheduler: SchedulerSource, stats: WorkerStats) -> None:
        """Show these from now on: the worker has got beyond its start."""
        self._sources.scheduler = scheduler
        self._sources.stats = stats

    @property
    def address(self) -> str:
        """A URL of the page that can be opened on this machine, with the real port; only once started."""
        if self._address is None:
            raise RuntimeError("The web views are not started.")
        return self._address

    async def start(self) -> None:
        """Start listening.

        Raises:
            ConfigurationError: the address cannot be listened on.
        """
        runner = web.AppRunner(self.app, handle_signals=False, shutdown_timeout=_SHUTDOWN_S)
        await runner.setup()
        self._runner = runner
        if runner.server is None:
            raise RuntimeError("aiohttp made no server.")
        connections = Connections(runner.server)
        host, port = self._settings.web_host, self._settings.web_port
        try:
            sockets = await asyncio.to_thread(listening_sockets, host, port)
        except (OSError, UnicodeError) as error:
            await self.stop()
            raise ConfigurationError(why_not_listening(error, host, port)) from None
        self._address = _url(host, sockets[0])
        for one in sockets:
            self._servers.append(
                await asyncio.get_running_loop().create_server(connections, sock=one, backlog=BACKLOG)
            )
        self.connections = connections
        connections.start()
        everywhere = " (on all addresses)" if host in WILDCARDS else ""
        log.info("The web views are at %s%s", self.address, everywhere)

    async def stop(self) -> None:
        """Stop listening; answers under way may take two seconds more."""
        servers, self._servers, self._address = self._servers, [], None
        for server in servers:
            server.close()
        await self.stream.stop()
        await self.changes.stop()
        if self.connections is not None:
            await self.connections.stop()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @web.middleware
    async def _answer(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        Connections.seen(request)
        try:
            self._access.check_host(request)
            route = request.match_info.route.name
            if route not in _OWN_RULES:
                try:
                    self._access.check(request, route)
                except Problem:
                    if (instead := self._sign_in.instead(request)) is None:
                        raise
                    harden(instead)
                    return instead
            response = await self._kept(request, await handler(request))
        except Problem as problem:
            return await self._told(request, problem)
        except BadQueryError as error:
            return await self._told(request, Problem(400, str(error)))
        except web.HTTPException as error:
            allow = error.headers.get("Allow")
            return await self._told(
                request, Problem(error.status, headers=[("Allow", allow)] if allow else ())
            )
        except Exception:
            log.exception("Answering %s failed.", route_of(request))
            return await self._told(request, Problem(500))
        harden(response)
        return response

    async def _told(self, request: web.Request, problem: Problem) -> web.Response:
        """The answer that tells of a problem, as a page where a browser asked for one."""
        try:
            return await self._problem_pages.answer(request, problem)
        except Exception:
            log.exception("The page that tells of a problem failed.")
            return problem_response(problem)

    async def _kept(self, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
        """The response as it is, or for a page or a file one with an ETag, packed, or 304."""
        if (
            not isinstance(response, web.Response)
            or response.status != 200
            or response.content_type not in _KEPT_TYPES
            or response.cookies
            or not isinstance(body := response.body, bytes)
        ):
            return response
        etag = response.get(TAG) or tag(body)
        content_type = response.headers["Content-Type"]

        async def made() -> Answer:
            return Answer(body, etag, content_type)

        kept = await answered(request, await self._pages.get((etag, content_type), None, made))
        for name, value in response.headers.items():
            if name not in ("Content-Type", "Content-Length"):
                kept.headers.setdefault(name, value)
        return kept


def _url(host: str, listening: socket.socket) -> str:
    """The URL of a server that listens on ``host``, by one of its sockets."""
    found, port = listening.getsockname()[:2]
    # A name stands for several addresses, all of them with this port; the others are as they came out.
    shown = reachable_host(host) if host in WILDCARDS or host == "localhost" else found
    return f"http://{host_in_url(shown)}:{port}/"
