"""Draws the confusion matrix of the chosen model, and the digits it got wrong, as one SVG. No plotting library: a
picture of a hundred squares needs none."""
import argparse
import json
from xml.sax.saxutils import escape

CELL = 44
LEFT, TOP = 90, 96
PIXEL = 5


def text(x, y, words, size=14, anchor="middle", fill="#222", extra=""):
    look = f'font-size="{size}" text-anchor="{anchor}" fill="{fill}" {extra}'
    return f'<text x="{x}" y="{y}" {look}>{escape(words)}</text>'


def matrix(truth, predicted):
    counts = [[0] * 10 for _ in range(10)]
    for t, p in zip(truth, predicted):
        counts[t][p] += 1
    parts = []
    for t, row in enumerate(counts):
        total = sum(row) or 1
        for p, n in enumerate(row):
            share = n / total
            hue = "33,102,172" if t == p else "178,24,43"
            strength = share if t == p else min(1.0, share * 6)
            x, y = LEFT + p * CELL, TOP + t * CELL
            parts.append(f'<rect x="{x}" y="{y}" width="{CELL - 2}" height="{CELL - 2}" rx="3" '
                         f'fill="rgba({hue},{max(0.05, strength):.2f})"/>')
            if n:
                ink = "#fff" if strength > 0.5 else "#222"
                parts.append(text(x + CELL / 2 - 1, y + CELL / 2 + 4, str(n), fill=ink))
        parts.append(text(LEFT - 14, TOP + t * CELL + CELL / 2 + 4, str(t)))
        parts.append(text(LEFT + t * CELL + CELL / 2 - 1, TOP - 10, str(t)))
    return parts


def thumbnails(truth, predicted, wrong):
    parts, left = [], LEFT + 10 * CELL + 40
    pairs = [(t, p) for t, p in zip(truth, predicted) if t != p]
    parts.append(text(left, TOP - 10, f"Wrong: {len(pairs)} (truth, then what was said)", anchor="start"))
    for i, ((t, p), image) in enumerate(list(zip(pairs, wrong))[:24]):
        x, y = left + (i % 4) * 62, TOP + (i // 4) * 72
        for k, grey in enumerate(image):
            level = 255 - int(grey * 255 / 16)
            parts.append(f'<rect x="{x + k % 8 * PIXEL}" y="{y + k // 8 * PIXEL}" width="{PIXEL}" height="{PIXEL}" '
                         f'fill="rgb({level},{level},{level})"/>')
        parts.append(text(x + 4 * PIXEL, y + 8 * PIXEL + 15, f"{t} \u2192 {p}", size=12))
    return parts


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--name", required=True)
    options.add_argument("--predictions", required=True)
    o = options.parse_args()
    with open(o.predictions) as file:
        data = json.load(file)
    truth, predicted = data["truth"], data["predicted"]
    accuracy = sum(t == p for t, p in zip(truth, predicted)) / len(truth)

    width, height = LEFT + 10 * CELL + 310, TOP + 10 * CELL + 50
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
             f'viewBox="0 0 {width} {height}" font-family="sans-serif">',
             f'<rect width="{width}" height="{height}" fill="#fff"/>',
             text(LEFT, 36, f"{o.name}: accuracy {accuracy:.4f} on {len(truth)} unseen digits", 20, "start"),
             text(LEFT + 5 * CELL, 66, "predicted"),
             text(0, 0, "truth", extra=f'transform="translate(40 {TOP + 5 * CELL}) rotate(-90)"')]
    parts += matrix(truth, predicted) + thumbnails(truth, predicted, data["wrong"]) + ["</svg>"]
    with open("confusion.svg", "w", encoding="utf-8") as file:
        file.write("\n".join(parts) + "\n")
    print(f"wrote confusion.svg: {o.name}, accuracy {accuracy:.4f}")


if __name__ == "__main__":
    main()
