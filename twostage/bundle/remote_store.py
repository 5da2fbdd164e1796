"""A store behind a URL, with verified copies of what is read in a local folder."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from twostage.bundle import publishing, remote_histories
from twostage.bundle.cache import Cache
from twostage.bundle.download import CHUNK_BYTES
from twostage.bundle.errors import (
    BundleCorrupt,
    BundleError,
    GenerationMissing,
    StoreBusy,
    StoreMissing,
    StoreUnreachable,
)
from twostage.bundle.generation import Generation
from twostage.bundle.manifest import MANIFEST_NAME, Manifest, parse_manifest
from twostage.bundle.remote_folder import ObjectMissing, RemoteFolder
from twostage.bundle.store import POINTER_NAME, Store, format_pointer, parse_pointer
from twostage.bundle.transfer import PARALLEL_COUNT, Watch


class RemoteStore(Store):
    """A store on any file system that fsspec knows; twostage.bundle.open_store makes one.

    What is asked about generations and CURRENT is asked of the remote, every time. Files lie below ``path``, laid out
    as a local store, after :meth:`fetch`; several processes may share them.

    Args:
        url: Where the store is, without a slash at its end.
        cache: Where its copies are; made when something is fetched or written. It serves one store.
        parallel_count: How many files are transferred at once.
        chunk_bytes: How much one request for a file asks for.

    Raises:
        LocationUnsupported: The protocol is unknown, or its library is not installed.
        CacheForeign: The cache holds another store's copies.
    """

    def __init__(
        self, url: str, cache: Path, *, parallel_count: int = PARALLEL_COUNT, chunk_bytes: int = CHUNK_BYTES
    ) -> None:
        super().__init__(cache)
        self.remote = RemoteFolder(url)
        self._cache = Cache(cache, self.remote, parallel_count=parallel_count, chunk_bytes=chunk_bytes)
        self._parallel_count = parallel_count
        # Generations that were seen to be published, so that a look at the current one is one request.
        self._seen: set[int] = set()

    @property
    def location(self) -> str:
        """The store's URL."""
        return self.remote.url

    def generations(self) -> list[int]:
        """The published generations, ascending: one listing, and one request for each.

        Raises:
            StoreUnreachable: The store does not answer.
        """
        numbers = [int(name) for name in self.remote.names("generations") if name.isdecimal()]
        with ThreadPoolExecutor(max_workers=2 * self._parallel_count) as pool:
            published = list(pool.map(self._is_published, numbers))
        return sorted(number for number, there in zip(numbers, published, strict=True) if there)

    def pointer(self) -> int:
        """The number in CURRENT, in one request; see Store."""
        try:
            content = self.remote.read(POINTER_NAME)
        except ObjectMissing:
            raise StoreMissing(f"{self.location}: the store is empty, nothing was published to it yet") from None
        return parse_pointer(content, f"{self.location}/{POINTER_NAME}")

    def set_current(self, generation: int) -> None:
        """Moves the pointer, atomically; see Store."""
        if not self._is_published(generation):
            raise GenerationMissing(generation, self.generations())
        self.remote.write(POINTER_NAME, format_pointer(generation))

    def manifest(self, generation: int) -> Manifest:
        """A generation's manifest, checked, in one request; see Store."""
        return self._manifest(generation)[0]

    def fetch(
        self,
        generation: int,
        prefixes: Sequence[str] = ("",),
        *,
        models: bool = True,
        watch: Watch | None = None,
    ) -> None:
        """Downloads what the cache lacks or holds damaged, and sums all that is wanted; see Store.

        When the store does not answer, what was fetched earlier is enough if it is all there.
        """
        try:
            manifest, content = self._manifest(generation)
        except StoreUnreachable:
            known = self._cache.manifest_content(generation)
            if known is None:
                raise
            manifest, content = parse_manifest(known, self.generations_path / str(generation) / MANIFEST_NAME), known
        self._cache.fetch(manifest, content, prefixes, models=models, watch=watch)

    def open(self, generation: int | None = None, *, verify: Sequence[str] = ()) -> Generation:
        """Fetches the manifest and the files that ``verify`` names, and opens the copy; see Store."""
        number = self.current() if generation is None else generation
        self.fetch(number, verify, models=False)
        return Generation(self.generations_path / str(number))

    def verify(self, generation: int, *, watch: Watch | None = None) -> int:
        """Fetches what the cache lacks and sums everything; see Store."""
        self.fetch(generation, watch=watch)
        manifest = self.open(generation).manifest
        return len(manifest.files) + len(manifest.model_files)

    def remove(self, generation: int) -> None:
        """Removes a generation and its models, and their copies; its manifest goes first. See Store.

        Raises:
            StoreUnreachable: The store does not answer. Once the manifest is gone, nobody sees the rest.
        """
        self._check_removable(generation)
        self.remember(generation)
        self._seen.discard(generation)
        self.remote.remove(f"generations/{generation}/{MANIFEST_NAME}")
        self.remote.remove(f"generations/{generation}")
        for model in self.remote.names("models"):
            self.remote.remove(f"models/{model}/{generation}")
        self.evict(generation)

    def evict(self, generation: int) -> None:
        """Removes a generation's copy from the cache. Who has its files mapped keeps them; see Store."""
        with self._cache.locked(generation):
            self._discard(generation)
            self._cache.drop_aside(generation)

    def remember(self, generation: int) -> None:
        """Says in the store that a number was given; see Store."""
        publishing.remember(self.remote, generation)

    def claim(self, least: int) -> int:
        """Reserves the next number that nobody was given; see Store."""
        self._cache.prepare()
        return publishing.claim(self.remote, self.claims_path, least)

    def release(self, generation: int) -> None:
        """Forgets in the cache that a number is ours; in the store it stays given."""
        (self.claims_path / str(generation)).unlink(missing_ok=True)

    def unsent(self) -> list[int]:
        """Generations that were written here and whose sending did not end, ascending.

        Raises:
            StoreUnreachable: The store does not answer.
        """
        written = [number for number in super().generations() if (self.claims_path / str(number)).is_file()]
        return [number for number in written if not self._is_published(number)]

    def send(self, generation: int, *, watch: Watch | None = None) -> None:
        """Uploads what was written below ``path``: files and models, then the manifest, which publishes.

        What an earlier try uploaded is not sent again where the file system's entity tags show that it is the same.

        Raises:
            StoreBusy: The number is another publisher's.
            BundleCorrupt: A file in the cache is not what its manifest says.
            StoreUnreachable: The store does not answer; nothing can be seen, and a later call goes on.
        """
        with self._cache.locked(generation):
            try:
                publishing.send(self.remote, self.path, generation, parallel_count=self._parallel_count, watch=watch)
            except StoreBusy:
                # What lies here is no copy of the store's generation of that number, and would be taken for one.
                self._discard(generation)
                self.release(generation)
                raise
            self.release(generation)

    def send_histories(self, generation: int) -> None:
        """Uploads ``users/<generation>/``, if there is one, and last a list of its files; see Store."""
        remote_histories.send(self.remote, self.path, generation, parallel_count=self._parallel_count)

    def fetch_histories(self, generation: int) -> None:
        """Downloads ``users/<generation>/`` if the store has it; see Store."""
        with self._cache.locked(generation):
            remote_histories.fetch(self.remote, self._cache, generation)

    def _absence(self, generation: int) -> BundleError | None:
        if generation not in self._seen:
            if not self._is_published(generation):
                return GenerationMissing(generation, self.generations())
            self._seen.add(generation)
        return None

    def _is_published(self, generation: int) -> bool:
        return self.remote.exists(f"generations/{generation}/{MANIFEST_NAME}")

    def _manifest(self, generation: int) -> tuple[Manifest, bytes]:
        name = f"generations/{generation}/{MANIFEST_NAME}"
        try:
            content = self.remote.read(name)
        except ObjectMissing:
            raise GenerationMissing(generation, self.generations()) from None
        manifest = parse_manifest(content, f"{self.location}/{name}")
        if manifest.generation != generation:
            raise BundleCorrupt(f"{self.location}/{name}", f"generation {generation}", f"{manifest.generation}")
        return manifest, content
