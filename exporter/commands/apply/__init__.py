"""The command ``apply``: carry out a plan by the registry's API, each deletion looked at again."""
