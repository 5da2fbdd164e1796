"""All checks of a rendered combination."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tests.contract.kubernetes.commands import check_commands
from tests.contract.kubernetes.files import check_files
from tests.contract.kubernetes.house_rules import check_house_rules, check_scaling
from tests.contract.kubernetes.lifecycle import check_ends, check_probes
from tests.contract.kubernetes.model_server_flags import check_model_server
from tests.contract.kubernetes.monitoring import check_monitoring
from tests.contract.kubernetes.network import check_network
from tests.contract.kubernetes.pod_security import check_pod_security
from tests.contract.kubernetes.problems import Problem
from tests.contract.kubernetes.processes import check_settings
from tests.contract.kubernetes.references import check_references
from tests.contract.kubernetes.rendered import Rendered
from tests.contract.kubernetes.schemas import Schemas
from tests.contract.kubernetes.services import check_ports, check_services, check_targets

Check = Callable[[Rendered], Iterator[Problem]]

CHECKS: Sequence[Check] = (
    check_pod_security,
    check_house_rules,
    check_scaling,
    check_references,
    check_settings,
    check_ports,
    check_services,
    check_targets,
    check_probes,
    check_ends,
    check_model_server,
    check_commands,
    check_files,
    check_network,
    check_monitoring,
)


def find_problems(rendered: Rendered, schemas: Schemas) -> list[Problem]:
    """What is wrong with a combination, in order and each once.

    Where a document is not what Kubernetes takes, that alone is told: the other checks read what a schema promises.
    """
    wrong = sorted(set(schemas(rendered)))
    return wrong or sorted({problem for check in CHECKS for problem in check(rendered)})
