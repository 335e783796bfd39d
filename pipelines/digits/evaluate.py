"""Tests a trained model on the images that neither training nor choosing has used."""
import argparse
import json
import pickle

import numpy as np


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--model", required=True)
    options.add_argument("--test", required=True)
    o = options.parse_args()

    with open(o.model, "rb") as file:
        model = pickle.load(file)
    test = np.load(o.test)
    predicted = model.predict(test["images"])
    accuracy = float(np.mean(predicted == test["labels"]))
    print(f"accuracy {accuracy:.4f} on {len(predicted)} images")
    with open("accuracy.txt", "w") as file:
        file.write(repr(accuracy))
    with open("predictions.json", "w") as file:
        json.dump({
            "truth": test["labels"].tolist(),
            "predicted": predicted.tolist(),
            "wrong": np.rint(test["images"][predicted != test["labels"]] * 16).astype(int).tolist(),
        }, file)


if __name__ == "__main__":
    main()
