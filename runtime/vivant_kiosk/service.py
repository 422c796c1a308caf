"""What the routes share: the artworks, the workshop, the compositions, the figures about them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import TypeVar

from starlette.requests import HTTPConnection

import vivant_samples
from vivant.artwork import Artwork
from vivant.errors import ArtworkError, ImageError, VivantError
from vivant.files import one_line
from vivant_kiosk.compositions import Composition, Compositions
from vivant_kiosk.downloads import base_url
from vivant_kiosk.gallery import Exhibition
from vivant_kiosk.metrics import Metrics
from vivant_kiosk.privacy import give_memory_back
from vivant_kiosk.refusals import refused
from vivant_kiosk.settings import Settings
from vivant_kiosk.uploads import Uploads
from vivant_kiosk.workshop import BusyError, NotReadyError, Workshop

_SWEEP_S = 1.0
_DECODERS = 2
_STARTING_S = "2"  # Retry-After
_NOT_READY_S = "5"

_log = logging.getLogger(__name__)

T = TypeVar("T")


class Service:
    """Everything that one service holds; ``create_app`` makes it, its lifespan runs it."""

    def __init__(self, settings: Settings) -> None:
        """Take the settings; nothing is loaded or opened before ``run``.

        Raises:
            ArtworkError: there is no folder of artworks where the settings say.
        """
        self.settings = settings
        self.folder = settings.artworks or vivant_samples.ARTWORKS
        if not self.folder.is_dir():
            where = one_line(self.folder)
            raise ArtworkError(f"{where}: no such folder of artworks; create it or name another")
        self.compositions = Compositions(settings.retention_s)
        self.workshop = Workshop(settings, self.compositions, on_finished=self._count)
        self.metrics = Metrics(self.workshop.status, self.compositions.held)
        self.uploads = Uploads(settings.uploads, settings.upload_s, self.metrics.refuse_upload)
        self.downloads_port = settings.downloads.port if settings.downloads else 0
        self.preview_taken = False
        self._finished = False  # a composition, since memory was given back
        self.failure: VivantError | None = None  # the server looks for it, and ends
        self._exhibition: Exhibition | None = None
        self._threads = ThreadPoolExecutor(_DECODERS, thread_name_prefix="vivant-pictures")

    @property
    def exhibition(self) -> Exhibition:
        """The artworks.

        Raises:
            Refused: they are not loaded yet.
        """
        if self._exhibition is None:
            raise refused(
                "not-ready", "the artworks are being loaded; try again", Retry_After=_STARTING_S
            )
        return self._exhibition

    @property
    def downloads_url(self) -> str | None:
        """What phones call this machine; None where downloads are off, or it is in no network."""
        downloads = self.settings.downloads
        return base_url(downloads, self.downloads_port) if downloads else None

    @property
    def loaded(self) -> bool:
        """Whether the artworks are loaded."""
        return self._exhibition is not None

    @property
    def ready(self) -> bool:
        """Whether photos are taken."""
        return self.loaded and self.workshop.status().ready

    def check(self) -> None:
        """See whether a photo would be taken now.

        Raises:
            Refused: not now.
        """
        with queueing():
            self.workshop.check()

    async def in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        """Return what ``function`` returns, from one of the few threads that handle pictures."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, function, *arguments)

    async def run(self) -> None:
        """Begin, and work beside the requests until cancelled; ``failure`` is what went wrong."""
        self.workshop.start()
        if self.settings.downloads and self.downloads_url is None:
            _log.warning("no downloads: this machine is in no network; set downloads.address")
        try:
            await asyncio.gather(self._load(), self._sweep(), self.metrics.watch_loop())
        except VivantError as error:
            self.failure = error
        except Exception:  # noqa: BLE001  (the process ends, and says why)
            _log.exception("the service broke")
            self.failure = VivantError("the service broke; its log says more")

    async def stop(self) -> None:
        """Take no more photos; finish what is composed, or cancel it after some seconds."""
        await asyncio.to_thread(self.workshop.close)

    async def close(self) -> None:
        """Stop, and forget every visitor."""
        await self.stop()
        self.compositions.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _load(self) -> None:
        self._exhibition = await self.in_thread(Exhibition, self.folder)
        for broken in self._exhibition.errors:
            _log.warning("an artwork is not shown: %s", broken)
        # What pages ask for first; later, it would keep them waiting.
        for artwork in self._exhibition.artworks:
            with suppress(ImageError):
                await self.in_thread(size_of, artwork)
                await self.in_thread(self._exhibition.thumbnail, artwork)

    async def _sweep(self) -> None:
        held = 0
        while True:
            await asyncio.sleep(_SWEEP_S)
            self.compositions.sweep()
            if self._finished or held != self.compositions.held():
                self._finished, held = False, self.compositions.held()
                await self.in_thread(give_memory_back)

    def _count(self, composition: Composition) -> None:
        self._finished = True
        self.metrics.count_composition(composition.facts())


@contextmanager
def queueing() -> Iterator[None]:
    """Answer with a problem where the workshop takes no photo inside ``with``."""
    try:
        yield
    except BusyError as error:
        raise refused("busy", str(error), Retry_After=str(error.retry_after_s)) from None
    except NotReadyError as error:
        raise refused("not-ready", str(error), Retry_After=_NOT_READY_S) from None


async def service_of(connection: HTTPConnection) -> Service:
    """Return the service that a request came to; a dependency of routes."""
    service: Service = connection.app.state.service
    return service


@lru_cache(maxsize=1024)
def size_of(artwork: Artwork) -> tuple[int, int]:
    """Return width and height of an artwork, pixels; decodes its picture, so use a thread.

    Raises:
        ImageError: the picture was damaged or removed since the artwork was loaded.
    """
    height, width = artwork.picture().shape[:2]
    return width, height
