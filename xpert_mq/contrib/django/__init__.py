"""Managed queues in Django: add `xpert_mq.contrib.django` to INSTALLED_APPS."""
