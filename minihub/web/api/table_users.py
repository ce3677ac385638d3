"""Endpoints about users."""

from __future__ import annotations

from minihub.web.api import users
from minihub.web.api.endpoint import CONFLICT, Answer, Endpoint
from minihub.web.api.models import RevokedModel, SelfModel, UserModel
from minihub.web.api.replies import PageModel

T = "Users"

USER_ENDPOINTS = (
    Endpoint(
        "GET",
        "/user",
        users.whoami,
        "Who asks",
        "any token",
        (Answer(200, "The user model of the asker, with the scopes that he has.", SelfModel),),
        topic=T,
    ),
    Endpoint(
        "GET",
        "/users",
        users.listing,
        "All users whom the hub knows",
        "`list:users`; more of each with `read:users`, `read:users:activity`, `read:users:groups`, `read:servers`",
        (Answer(200, "User models; paginated if asked for.", list[UserModel] | PageModel[UserModel]),),
        "With the header `Accept: application/jupyterhub-pagination+json` the answer is `{items, _pagination}`.",
        query=users.UsersQuery,
        topic=T,
    ),
    Endpoint(
        "POST",
        "/users",
        users.create_many,
        "Make users known before they log in",
        "`admin:users`",
        (Answer(201, "Those who are new.", list[UserModel]), CONFLICT),
        "Touches no Unix account: who has none, or whom the settings refuse, is an error, and then nobody is added. "
        "Names that are known already are passed over; 409 if all are. So repeating it changes nothing.",
        body=users.NewUsers,
        topic=T,
    ),
    Endpoint(
        "GET",
        "/users/{name}",
        users.show,
        "One user",
        "`read:users:name`; more with `read:users` and others",
        (Answer(200, "As much of the user as the asker may see.", UserModel),),
        query=users.UserQuery,
        topic=T,
    ),
    Endpoint(
        "POST",
        "/users/{name}",
        users.create,
        "Make one user known before he logs in",
        "`admin:users`",
        (Answer(201, "The new user.", UserModel), CONFLICT),
        "See POST /users. 409 if he is known already: repeating it changes nothing.",
        body=users.NewUser,
        topic=T,
    ),
    Endpoint(
        "PATCH",
        "/users/{name}",
        users.change,
        "Change a user (not possible here)",
        "`admin:users`",
        (Answer(200, "Nothing was to be changed.", UserModel),),
        "Names come from the system and admins from the hub's settings, so every real change is refused with 400.",
        body=users.UserChange,
        topic=T,
    ),
    Endpoint(
        "DELETE",
        "/users/{name}",
        users.delete,
        "Forget a user",
        "`delete:users` (in `admin:users`)",
        (Answer(204, "Forgotten."),),
        "Stops his server, revokes his logins and tokens, forgets his last options. His history stays, his Unix account is not "
        "touched, and he can log in again unless the settings refuse him. Doing it again is 404 and changes nothing.",
        topic=T,
    ),
    Endpoint(
        "DELETE",
        "/users/{name}/logins",
        users.revoke,
        "End all logins and tokens of a user",
        "`admin:users`",
        (Answer(200, "How many there were.", RevokedModel),),
        "His server goes on. Repeating it is no error.",
        topic=T,
    ),
)
