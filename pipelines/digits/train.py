"""Trains one classifier and measures it on images it has not seen."""
import argparse
import pickle
import time

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

MODELS = {
    "logistic": lambda seed: LogisticRegression(C=0.5, max_iter=2000, random_state=seed),
    "forest": lambda seed: RandomForestClassifier(n_estimators=200, random_state=seed),
    "svm": lambda seed: SVC(C=10, gamma="scale", random_state=seed),
    "neighbours": lambda seed: KNeighborsClassifier(n_neighbors=3),
}


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--model", choices=MODELS, required=True)
    options.add_argument("--train", required=True)
    options.add_argument("--validation", required=True)
    options.add_argument("--seed", type=int, default=7)
    o = options.parse_args()

    train, validation = np.load(o.train), np.load(o.validation)
    model = MODELS[o.model](o.seed)
    begun = time.perf_counter()
    model.fit(train["images"], train["labels"])
    print(f"{o.model}: learned from {len(train['labels'])} images in {time.perf_counter() - begun:.2f} s")

    accuracy = model.score(validation["images"], validation["labels"])
    print(f"{o.model}: accuracy {accuracy:.4f} on {len(validation['labels'])} images")
    with open("model.pickle", "wb") as file:
        pickle.dump(model, file)
    with open("accuracy.txt", "w") as file:
        file.write(repr(float(accuracy)))


if __name__ == "__main__":
    main()
