"""The ATT&CK catalogue: names, tactics and revocations of one Enterprise release, shipped with the package."""
