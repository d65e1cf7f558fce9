"""A training script that knows nothing of Twofold: scikit-learn on a CSV channel, as SageMaker's own examples have it.

    sagemaker_program=train.py, with this folder as source_dir

It reads the channel `train` (label first, no header line), prints a metric that a metric definition can find, and
leaves the model where SageMaker packs it. requirements.txt brings scikit-learn, which the image does not have.
"""

import argparse
import json
import os
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

parser = argparse.ArgumentParser()
parser.add_argument("-C", type=float, default=1.0, help="inverse of the regularisation")
parser.add_argument("--max-iter", type=int, default=1000)
parser.add_argument("--train", type=Path, default=os.environ.get("SM_CHANNEL_TRAIN"))
parser.add_argument("--model-dir", type=Path, default=os.environ.get("SM_MODEL_DIR"))
arguments = parser.parse_args()

rows = np.concatenate([np.loadtxt(path, delimiter=",", ndmin=2) for path in sorted(arguments.train.glob("*.csv"))])
labels, features = rows[:, 0].astype(int), rows[:, 1:]
spread = features.std(axis=0) + 1e-9
model = LogisticRegression(C=arguments.C, max_iter=arguments.max_iter)
model.fit((features - features.mean(axis=0)) / spread, labels)
print(f"train:accuracy={model.score((features - features.mean(axis=0)) / spread, labels):.4f}")

arguments.model_dir.mkdir(parents=True, exist_ok=True)
weights = {"coef": model.coef_, "intercept": model.intercept_, "mean": features.mean(axis=0), "spread": spread}
np.savez(arguments.model_dir / "weights.npz", classes=model.classes_, **weights)
(arguments.model_dir / "about.json").write_text(
    json.dumps({"rows": len(rows), "C": arguments.C}) + "\n", encoding="utf-8"
)
