"""Benchmarks that anyone can repeat: what fastgoal does beside the obvious way of doing it, on the same machine.

`harness` alternates both sides and puts figures into rows; `reference` is the obvious way, which nothing else imports;
`step`, `matching`, `masks`, `decoding`, `evaluation` and `scaling` measure one stage each; `alone` runs a part in a
process of its own.
"""
