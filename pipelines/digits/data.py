"""Splits scikit-learn's bundled copy of the UCI handwritten digits (1,797 images of 8x8 grey levels) into three parts:
one to learn from, one to choose the best model by, and one that nothing is decided by."""
import argparse

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--test-share", type=float, default=0.25)
    options.add_argument("--validation-share", type=float, default=0.2, help="of what the test leaves")
    options.add_argument("--seed", type=int, default=7)
    o = options.parse_args()

    images, labels = load_digits(return_X_y=True)
    images = images / 16.0
    rest, test, rest_labels, test_labels = train_test_split(
        images, labels, test_size=o.test_share, stratify=labels, random_state=o.seed)
    train, validation, train_labels, validation_labels = train_test_split(
        rest, rest_labels, test_size=o.validation_share, stratify=rest_labels, random_state=o.seed)

    for name, x, y in [("train", train, train_labels), ("validation", validation, validation_labels),
                       ("test", test, test_labels)]:
        np.savez_compressed(f"{name}.npz", images=x, labels=y)
        print(f"{name}: {len(y)} images")


if __name__ == "__main__":
    main()
