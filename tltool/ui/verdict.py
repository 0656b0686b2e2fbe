"""Step 2: what was measured, and what follows from it."""

from html import escape
from pathlib import Path
from typing import Any

import streamlit as st

from tltool.recipes import load_recipe
from tltool.ui import charts
from tltool.ui.words import plain

# Transparent colours, so that the table is as legible on a dark page as on a light one.
STYLE = """<style>
.tltable { border-collapse: separate; border-spacing: 6px; width: 100%; table-layout: fixed; margin: 0 -6px; }
.tltable th { font-weight: 600; font-size: .85rem; text-align: center; padding: .2rem; opacity: .8; }
.tltable th.row { width: 5.5rem; text-align: left; }
.tltable td { border: 1px solid rgba(128,128,128,.35); border-radius: 8px; padding: .7rem .5rem; text-align: center;
  font-size: .9rem; overflow-wrap: anywhere; }
.tltable td.here { border: 2px solid #0f766e; background: rgba(15,118,110,.14); font-weight: 600; }
.tltable td.picked { border: 2px dashed #0f766e; }
.tltable small { display: block; font-weight: 400; opacity: .8; margin-top: .2rem; }
</style>"""
AMOUNTS = {"little": "little data", "a lot": "a lot of data"}
KINSHIPS = {"similar": "similar to ImageNet", "different": "different from it"}


def show_verdict(facts: dict[str, Any], augmentation: Path) -> None:
    """Draws the table with its cell, the reasons, augmented pictures, and the similarity of each stage.

    Args:
        facts: What the inspection found.
        augmentation: The picture that it drew of the policy.
    """
    decision = facts["decision"]
    chosen = plain(decision["recipe"])
    st.markdown(f"Recommended recipe: **{chosen}**. {plain(load_recipe(decision['recipe']).summary)}")
    st.html(STYLE + table_html(facts["table"], decision))
    st.markdown("\n".join(f"- {plain(reason)}" for reason in decision["reasons"]))
    if augmentation.is_file():
        policy = decision["augmentation"]
        with st.expander(f"What the augmentation “{plain(policy)}” makes of your pictures"):
            alt = f"A row a picture: first as it is, then five times as the augmentation {policy} changes it"
            st.image(str(augmentation), width="stretch", alt=alt)
            st.caption(
                "On the left the picture as it is. Fine-tuning sees another change of it in every epoch, so that it "
                "learns what does not matter; a probe without views sees the picture alone."
            )
    by_stage = facts["similarity"]["by_stage"]
    if by_stage:
        values = ", ".join(f"{stage} {value:.3f}" for stage, value in by_stage.items())
        with st.expander("How far the pictures are from ImageNet, stage by stage"):
            st.altair_chart(
                charts.similarity(by_stage, facts["similar_below"]),
                width="stretch",
                alt=f"Bars: divergence by stage: {values}",
            )
            st.caption(
                "Each layer of the pretrained network remembers the average and spread of what it saw in ImageNet. The "
                "bars say how far your pictures are from that; the first stages see edges and textures, the last ones "
                f"things. The median over all layers decides; below {facts['similar_below']} (dashed) it is similar."
            )


def table_html(table: list[list[str]], decision: dict[str, Any]) -> str:
    """The table as HTML: the data set's cell is marked, and the recipe picked if evidence led elsewhere."""
    recipes = {(amount, kinship): recipe for amount, kinship, recipe in table}
    head = "".join(f'<th scope="col">{words}</th>' for words in KINSHIPS.values())
    rows = []
    for amount, amount_words in AMOUNTS.items():
        cells = "".join(_cell(recipes[amount, kinship], (amount, kinship), decision) for kinship in KINSHIPS)
        rows.append(f'<tr><th scope="row" class="row">{amount_words}</th>{cells}</tr>')
    return f'<table class="tltable"><tr><th class="row"></th>{head}</tr>{"".join(rows)}</table>'


def _cell(recipe: str, place: tuple[str, str], decision: dict[str, Any]) -> str:
    kind = note = ""
    if place == (decision["amount"], decision["kinship"]):
        kind, note = "here", "your pictures"
    elif decision["overruled"] and recipe == decision["recipe"]:
        kind, note = "picked", "picked on evidence"
    small = f"<small>{note}</small>" if note else ""
    return f'<td class="{kind}">{escape(recipe)}{small}</td>'
