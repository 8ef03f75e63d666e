"""The composition root: every automation of the folder, with shared resources and watchers."""

from __future__ import annotations

import dagster as dg

from aios.automation import automation_folders
from aios.settings import Settings, configure_libraries
from aios_assets.component import Automation, broken_automation
from aios_assets.resources import Platform
from sensors.watch import build_approvals_sensor, build_registry_sensor, failure_sensor


def build_definitions(settings: Settings) -> dg.Definitions:
    """Load all automations; one that is broken becomes a red asset and leaves the others alone."""
    loaded, parts = [], []
    for folder in automation_folders(settings):
        try:
            component = Automation.from_folder(folder)
            parts.append(dg.build_defs_for_component(component))
        except Exception as error:
            parts.append(broken_automation(folder, error))
        else:
            loaded.append(component.declared)
    shared = dg.Definitions(
        resources={"platform": Platform(settings)},
        sensors=[
            failure_sensor,
            build_registry_sensor(loaded),
            build_approvals_sensor(loaded),
        ],
        executor=dg.in_process_executor,
    )
    return dg.Definitions.merge(shared, *parts)


@dg.definitions
def defs() -> dg.Definitions:
    """Return the code location's definitions."""
    configure_libraries()
    return build_definitions(Settings.from_env())
