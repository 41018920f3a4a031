"""Recipes: the rows of the papers' tables, each as data, hyper-parameters and protocols that can be run."""

from fastgoal.recipes.follow import Outcome, Places, follow
from fastgoal.recipes.recipe import Recipe, all_recipes, recipe_named
from fastgoal.recipes.smoke import smoke

__all__ = ["Outcome", "Places", "Recipe", "all_recipes", "follow", "recipe_named", "smoke"]
