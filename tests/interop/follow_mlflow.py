#!/usr/bin/env python3
"""launch/follow/follow_metrics.py with MLflow itself, in a store of files: follow_mlflow.py RUN. Run by hand, in a Python
that has mlflow or mlflow-skinny."""
import json
import os
import subprocess
import sys
import tempfile


def main():
    run = sys.argv[1]
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../launch/follow/follow_metrics.py")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MLFLOW_TRACKING_URI"] = "file://" + folder + "/store"
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        copy = os.path.join(folder, "run")
        os.mkdir(copy)
        for name in ("metrics.jsonl", "config.ini"):
            with open(os.path.join(run, name), encoding="utf-8") as file, open(os.path.join(copy, name), "w", encoding="utf-8") as to:
                to.write(file.read())
        for _ in range(2):  # the second time there is nothing to add
            subprocess.run([sys.executable, script, copy, "--to", "mlflow", "--once"], check=True)
        from mlflow.tracking import MlflowClient  # pylint: disable=import-outside-toplevel
        client = MlflowClient()
        with open(os.path.join(copy, "followed-mlflow.json"), encoding="utf-8") as file:
            run_id = json.load(file)["run_id"]
        with open(os.path.join(copy, "metrics.jsonl"), encoding="utf-8") as file:
            records = [json.loads(line) for line in file]
        wanted = [(r["step"], r["loss"], int(r["time"] * 1000)) for r in records if "loss" in r]
        found = sorted((m.step, m.value, m.timestamp) for m in client.get_metric_history(run_id, "loss"))
        assert found == wanted, (found[:3], wanted[:3])
        params = client.get_run(run_id).data.params
        assert params["model.layers"], params
        print(f"{len(found)} steps and {len(params)} options are in MLflow as they are in {run}")


if __name__ == "__main__":
    main()
