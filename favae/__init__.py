"""FA-VAE and CAT (CVPR 2023), and the papers their losses stand on, as a reproducible workflow."""

import os

__version__ = "0.1.0"

# No tool that this package or one of its commands starts reports to anybody, however it is started (DVC: .dvc/config too).
for _variable in ("MLFLOW_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK", "DVC_NO_ANALYTICS"):
    os.environ.setdefault(_variable, "1" if _variable != "MLFLOW_DISABLE_TELEMETRY" else "true")
