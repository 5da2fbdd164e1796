"""What the gateway can be told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from gateway.admission.admission import AdmissionPolicy
from gateway.engine.budget import BudgetPolicy
from gateway.engine.stage_times import StageTimes
from gateway.posing import MAX_CANDIDATE_COUNT
from gateway.users.location import parse_users_location
from gateway.users.opening import UsersAccess
from twostage.generations.settings import PollSeconds, StoreLocation, StoreWaitSeconds
from twostage.rpc.asked_service import CallPolicy
from twostage.rpc.outliers import OutlierPolicy
from twostage.rpc.settings import GenerationNumber, Port, ServiceSettings, check_whole
from twostage.rpc.targets import parse_target

Milliseconds = Annotated[float, Field(gt=0, le=3_600_000)]
Connections = Annotated[int, Field(ge=1, le=256)]
Share = Annotated[float, Field(ge=0, lt=1)]


class GatewaySettings(ServiceSettings):
    """The gateway's settings; each is a flag, a variable ``TWOSTAGE_GATEWAY_…`` or a key of the YAML file.

    Attributes:
        store: The store of the generations that are answered from, a folder or a URL.
        generation: The one that is answered from, and no other, whatever the store's CURRENT does; when unset CURRENT
            is followed.
        generation_poll_seconds: Between two looks at CURRENT, 1 by default; 0 looks never.
        store_wait_seconds: How long to wait, not ready, for a first generation that can be served; then the process
            ends with the reason. 0, the default, ends at once; ``forever`` for pods whose bundle comes later.
        users: The user store: a SQLite file, made when it does not exist, or the URL of a Redis server for several
            gateways, ``redis://host:port/number``, ``rediss://…`` for TLS or ``unix:///path``; docs/users.md.
        users_password: What Redis asks for; from the environment. A URL that carries one is refused.
        users_password_file: A file that holds it instead.
        users_ca_file: PEM file of the authorities that sign Redis's certificate; the system's when unset.
        users_ttl_days: People of whom nothing new was recorded for so long are forgotten; 0, the default, keeps them.
        users_timeout_ms: How long Redis may take to answer a read, 100 by default, and for a write five times as long.
        taste_weights: How much of a history each recorded action may take, 0..1 by its name, e.g. ``{"viewed": 0.2}``;
            1 for those not named, see `gateway.engine.taste.TasteRule`.
        retrieval: Where retrieval's replicas are; see `twostage.rpc.targets.Target`. Where each retrieval server holds
            one shard of the index, a target for every shard, shard 0 first, separated by semicolons.
        ranking: Where ranking's replicas are.
        retrieval_connections: Connections to each replica of retrieval. One that serves its port with several processes
            needs several, about four for each process, for a connection stays with one of them.
        ranking_connections: Likewise to each replica of ranking.
        resolve_seconds: How often a ``dns:///`` name of a stage is looked up again, 3 by default.
        candidate_count: How many candidates retrieval is asked for; never fewer than a request's own count, never
            more than the catalogue holds.
        experiments: A YAML file of experiments (docs/experiments.md), followed while the gateway runs; none when unset.
        remembered_mib: Memory of each of the gateway's processes for earlier answers, which are given when retrieval is
            out, in MiB, about 600 bytes an answer of 20; 16 by default, 0 remembers none.
        remembered_seconds: Earlier answers are given for so long, 600 by default.
        default_deadline_ms: How long a caller that sets no deadline is taken to wait.
        admission: False lets everybody in, as many at once as there are ``max_workers``, the others in one endless row;
            True by default, and then there are as many threads as may work and wait (docs/admission.md).
        max_concurrency: So many questions are worked on at once at most, 64 by default; the limit moves below it.
        max_waiting: So many questions wait for a place at most, 64 by default.
        max_wait_share: The part of its caller's time that a question may wait for a place.
        max_deadline_ms: Callers who wait longer are answered within this all the same, so that a hanging stage does
            not hold the gateway's threads.
        ranking_share: The part of a request's time that is kept for ranking while retrieval runs, until enough calls
            were measured; then it follows what both stages take, half way to nothing or to everything at most.
        hedge_share: Where a stage has several replicas another one is asked too when the first takes longer than 95 %
            of calls; for at most this share of the requests, 0.05 by default, 0 for none.
        hedge_least_ms: Nobody is asked too before this; 2 by default.
        retry_share: Calls that could not be made are made once more, to another replica where there is one; for at most
            this share of the requests, 0.2 by default, 0 for none.
        aside_seconds: A replica that fails or hangs where others do not is left alone for a second, then for two, and
            so on up to this many, 30 by default, or until it answers again; 0 asks it as ever.
        answer_share: The part that is kept for building the answer and sending it back.
        status_poll_seconds: Between two rounds of asking every replica of the stages which generations it holds, 1 by
            default. They are asked at once after a connection was made and after one said that it does not hold what
            it was asked for.
        status_timeout_ms: How long a stage may take to tell its status.
        clients: A YAML file of who may call (docs/security.md), read again when it changes; everybody when unset.
        explain_enabled: Whether explanations and traces are given at all; yes by default.
        stage_tls_ca: PEM file of the authorities that sign the stages' certificates; the stages are called unencrypted
            when unset.
        stage_tls_certificate: PEM file of the gateway's certificate for stages that ask for one.
        stage_tls_key: PEM file of its private key.
        stage_tls_server_name: The name that the stages' certificates carry; the host as in the target when unset.
        impressions: The folder of the log of what is shown and of what people then do (docs/impressions.md), made when
            it does not exist; nothing is logged when unset.
        impressions_key_file: A file with the secret, 16 bytes or more, by which people's ids are turned into keys.
        impressions_key: The same secret as text, from the environment.
        impressions_unkeyed: True logs without a secret, and then without people.
        impressions_share: The part of the answers that is logged, 0..1; which ones follows from their request ids.
        impressions_candidates: How many candidates of each answer are logged beside those that are shown, 0..2,000.
        impressions_roll_seconds: A file of the log is completed so long after its first record; a crash loses as much.
        impressions_roll_bytes: And when it has this size.
        impressions_queue_bytes: The most memory that answers take that wait to be logged; further ones are not logged.
        impressions_max_bytes: The most that the log's files take together, the oldest are deleted; 0 for no limit.
        impressions_max_age_days: Files that are older are deleted; 0, the default, for no limit.
    """

    model_config = SettingsConfigDict(env_prefix="TWOSTAGE_GATEWAY_")

    port: Port = 50050
    metrics_port: Port = 9100
    store: StoreLocation
    generation: GenerationNumber | None = None
    generation_poll_seconds: PollSeconds = 1.0
    store_wait_seconds: StoreWaitSeconds = 0.0
    users: Path | str
    users_password: SecretStr | None = None
    users_password_file: Path | None = None
    users_ca_file: Path | None = None
    users_ttl_days: Annotated[float, Field(ge=0, le=36_500)] = 0.0
    users_timeout_ms: Annotated[float, Field(ge=1, le=10_000)] = 100.0
    taste_weights: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(default_factory=dict)
    retrieval: str = "127.0.0.1:50051"
    ranking: str = "127.0.0.1:50052"
    retrieval_connections: Connections = 1
    ranking_connections: Connections = 1
    resolve_seconds: Annotated[float, Field(ge=0.1, le=3600)] = 3.0
    candidate_count: Annotated[int, Field(ge=1, le=MAX_CANDIDATE_COUNT)] = 500
    experiments: Path | None = None
    admission: bool = True
    max_concurrency: Annotated[int, Field(ge=1, le=512)] = 64
    max_waiting: Annotated[int, Field(ge=0, le=1024)] = 64
    max_wait_share: Annotated[float, Field(ge=0, lt=1)] = 0.25
    remembered_mib: Annotated[float, Field(ge=0, le=65_536)] = 16.0
    remembered_seconds: Annotated[float, Field(gt=0, le=86_400)] = 600.0
    default_deadline_ms: Milliseconds = 1_000.0
    max_deadline_ms: Milliseconds = 2_000.0
    ranking_share: Share = 0.5
    hedge_share: Share = 0.05
    hedge_least_ms: Milliseconds = 2.0
    retry_share: Share = 0.2
    aside_seconds: Annotated[float, Field(ge=0, le=3600)] = 30.0
    answer_share: Share = 0.05
    status_poll_seconds: Annotated[float, Field(gt=0, le=3600)] = 1.0
    status_timeout_ms: Milliseconds = 500.0
    clients: Path | None = None
    explain_enabled: bool = True
    stage_tls_ca: Path | None = None
    stage_tls_certificate: Path | None = None
    stage_tls_key: Path | None = None
    stage_tls_server_name: Annotated[str, Field(min_length=1)] | None = None
    impressions: Path | None = None
    impressions_key_file: Path | None = None
    impressions_key: SecretStr | None = None
    impressions_unkeyed: bool = False
    impressions_share: Annotated[float, Field(ge=0, le=1)] = 1.0
    impressions_candidates: Annotated[int, Field(ge=0, le=MAX_CANDIDATE_COUNT)] = 0
    impressions_roll_seconds: Annotated[float, Field(gt=0, le=86_400)] = 60.0
    impressions_roll_bytes: Annotated[int, Field(ge=64 * 2**10, le=2**30)] = 16 * 2**20
    impressions_queue_bytes: Annotated[int, Field(ge=2**20, le=2**33)] = 64 * 2**20
    impressions_max_bytes: Annotated[int, Field(ge=0)] = 16 * 2**30
    impressions_max_age_days: Annotated[float, Field(ge=0, le=36_500)] = 0.0

    @model_validator(mode="after")
    def _stage_tls_is_whole(self) -> Self:
        check_whole("stage_tls", self.stage_tls_certificate, self.stage_tls_key)
        if self.stage_tls_ca is None:
            for name in ("stage_tls_certificate", "stage_tls_server_name"):
                if getattr(self, name) is not None:
                    raise ValueError(f"stage_tls_ca: expected a file beside {name}, received none")
        return self

    @model_validator(mode="after")
    def _users_are_somewhere(self) -> Self:
        # Not a rule of the field: what is wrong with that is told with its value, and a URL may hold a password.
        try:
            parse_users_location(self.users)
        except ValueError as error:
            raise ValueError(f"users: expected {error}") from error
        if self.users_password is not None and self.users_password_file is not None:
            raise ValueError("users_password_file: expected it without users_password, received both")
        return self

    @field_validator("retrieval")
    @classmethod
    def _are_targets(cls, text: str) -> str:
        for part in _by_shard(text):
            parse_target(part)
        return text

    @field_validator("ranking")
    @classmethod
    def _is_target(cls, text: str) -> str:
        parse_target(text)
        return text

    @property
    def retrieval_targets(self) -> tuple[str, ...]:
        """Retrieval's targets: one where every replica holds the whole index, else one for each shard in order."""
        return _by_shard(self.retrieval)

    def admission_policy(self) -> AdmissionPolicy:
        """How much is let in."""
        return AdmissionPolicy(self.max_concurrency, self.max_waiting, self.max_wait_share)

    @property
    def remembered_bytes(self) -> int:
        """Memory for earlier answers."""
        return int(self.remembered_mib * 2**20)

    def users_access(self) -> UsersAccess:
        """How the user store is opened."""
        return UsersAccess(
            self.users,
            password=self.users_password.get_secret_value() if self.users_password is not None else "",
            password_file=self.users_password_file,
            ca_file=self.users_ca_file,
            ttl_days=self.users_ttl_days,
            timeout_seconds=self.users_timeout_ms / 1000,
            # No more are asked for at once than requests are worked on.
            connection_count=max(self.max_workers, self.max_concurrency if self.admission else 0),
        )

    def budget_policy(self, measured: StageTimes | None = None) -> BudgetPolicy:
        """How a request's time is split.

        Args:
            measured: How long the stages took of late; the shares stay as they are set when None.

        Raises:
            ValueError: The shares leave nothing for retrieval.
        """
        return BudgetPolicy(ranking_share=self.ranking_share, answer_share=self.answer_share, measured=measured)

    def call_policy(self) -> CallPolicy:
        """When another replica of a stage is asked too."""
        return CallPolicy(self.hedge_share, self.retry_share, self.hedge_least_ms / 1000)

    def outlier_policy(self) -> OutlierPolicy | None:
        """When a replica is left alone for a while; None for never."""
        if self.aside_seconds == 0:
            return None
        return OutlierPolicy(first_seconds=min(1.0, self.aside_seconds), longest_seconds=self.aside_seconds)


def _by_shard(text: str) -> tuple[str, ...]:
    # Not commas: those separate the replicas of one shard.
    return tuple(part.strip() for part in text.split(";"))
