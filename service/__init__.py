"""From a trained model to a service: an example, run from the repository's root by `make service`.

`export` writes a trained model as a version that needs no training code, `models` reads versions
back or refuses them, `guard` keeps greedy and slow clients out, `drift` watches what comes in,
`app` answers over HTTP, and `redeploy` trains on and publishes when an alarm lasts.
"""
