"""MLflow's server, opened as model training: `mlflow ui --app-name favae` (MLflow's plug-in `mlflow.app`, in pyproject.toml).

MLflow's pages show its views for language models to a browser that has not chosen. No setting of the server changes that (mlflow
issue 24498): the choice is kept in the browser alone, which this server makes once, before MLflow's own script reads it.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI

# The name under which MLflow's pages keep the choice: key `mlflow.workflowType`, version 1. Where MLflow renames it, its own
# default is back and nothing else changes.
_CHOICE = """<script>
try {
  if (!localStorage.getItem("mlflow.workflowType_v1")) localStorage.setItem("mlflow.workflowType_v1", '"machine_learning"');
} catch { /* storage is off */ }
</script>"""


def create_app() -> "FastAPI":
    """MLflow's application whose first page chooses model training in a browser that has not chosen; the rest is MLflow's."""
    from flask import Response
    from mlflow.server import app as pages
    from mlflow.server.fastapi_app import app

    index = Path(str(pages.static_folder), "index.html")
    text = index.read_text(encoding="utf-8").replace("<head>", f"<head>{_CHOICE}", 1)
    pages.view_functions["serve"] = lambda: Response(text, mimetype="text/html")
    return app
