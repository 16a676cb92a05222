"""Django in one file. Projects that `django-admin startproject` makes need nothing of this:
`tidegate mysite.wsgi`, in the folder of manage.py.

    pip install django
    tidegate django_hello:application
"""

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

# Django serves nobody under a name that it was not told. Add yours.
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["localhost", "127.0.0.1", "[::1]"])


def hello(request):
    return HttpResponse("Hello from Django!\n", content_type="text/plain")


urlpatterns = [path("", hello)]

application = get_wsgi_application()
