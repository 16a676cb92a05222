"""Django: the admin over SQLite, uploads, streams, static files through WhiteNoise (or, without it, those that the
server finds itself); also behind the standard library's validator."""

import os
import time
from wsgiref.validate import validator

import django
from django.conf import settings

FOLDER = os.environ["PROBE_FOLDER"]
WHITENOISE = [] if "DJANGO_WITHOUT_WHITENOISE" in os.environ else ["whitenoise.middleware.WhiteNoiseMiddleware"]

settings.configure(
    ALLOWED_HOSTS=["*"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.path.join(FOLDER, "db.sqlite3"),
        }
    },
    DEBUG=False,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
        "django.contrib.staticfiles",
    ],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        *WHITENOISE,
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="for tests only",
    STATIC_ROOT=os.path.join(FOLDER, "static"),
    STATIC_URL="/static/",
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
    USE_TZ=True,
)
django.setup()

from django.contrib import admin
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import FileResponse, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

call_command("migrate", verbosity=0)
call_command("collectstatic", interactive=False, verbosity=0)
User.objects.create_superuser("admin", "admin@a.example", "secret")


def index(request):
    return HttpResponse("index of %s" % request.GET.get("name", "nobody"), content_type="text/plain")


@csrf_exempt
def upload(request):
    files = {}
    for name, file in request.FILES.items():
        files[name] = [file.name, sum(len(chunk) for chunk in file.chunks())]
    return JsonResponse({"fields": dict(request.POST.items()), "files": files})


@csrf_exempt
def echo(request):
    return HttpResponse(request.body, content_type=request.content_type)


def stream(request):
    def lines():
        for number in range(5):
            yield "line %d\n" % number
            time.sleep(0.01)

    return StreamingHttpResponse(lines(), content_type="text/plain")


def file(request):
    return FileResponse(open(os.path.join(FOLDER, "db.sqlite3"), "rb"), filename="db.sqlite3")


def visit(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return JsonResponse({"visits": request.session["visits"]})


def fail(request):
    raise RuntimeError("django failed on purpose")


urlpatterns = [
    path("", index),
    path("upload", upload),
    path("echo", echo),
    path("stream", stream),
    path("file", file),
    path("visit", visit),
    path("fail", fail),
    path("admin/", admin.site.urls),
]

app = get_wsgi_application()
validated = validator(app)
