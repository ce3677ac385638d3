"""Endpoints about users."""

from __future__ import annotations

from minihub.web.api import admin, tokens, users
from minihub.web.api.endpoint import CONFLICT, Answer, Asker, Endpoint
from minihub.web.api.models import (
    ErrorModel,
    GroupModel,
    NewTokenModel,
    RevokedModel,
    SelfModel,
    TokenModel,
    TokensModel,
    UserModel,
)
from minihub.web.api.replies import Paged, PageModel

T = "Users"
TOKENS = "Tokens"
GROUPS = "Groups"

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
        "Admit users",
        "`admin:users`",
        (Answer(201, "Those who are new.", list[UserModel]), CONFLICT),
        "They may log in from now on though `auth.allow_users` and `auth.allow_groups` do not name them. Touches no Unix account: "
        "who has none, or whom `auth.deny_users` or `auth.deny_groups` name, is an error, and then nobody is admitted. "
        "Names that are admitted already are passed over; 409 if all are. So repeating it changes nothing.",
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
        "Admit one user",
        "`admin:users`",
        (Answer(201, "The new user.", UserModel), CONFLICT),
        "See POST /users. 409 if he is admitted already: repeating it changes nothing.",
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
    Endpoint(
        "POST",
        "/users/{name}/activity",
        users.activity,
        "Note that a user was active",
        "`users:activity`",
        (Answer(200, "The user.", UserModel),),
        "An earlier moment than the one known changes nothing. What is said of servers is not used: the hub sees their traffic "
        "itself. A moment more than 59 minutes ahead is refused.",
        body=users.Activity,
        topic=T,
    ),
    Endpoint(
        "GET",
        "/users/{name}/tokens",
        tokens.listing,
        "A user's valid tokens",
        "`read:tokens`",
        (Answer(200, "Without their secrets.", TokensModel),),
        topic=TOKENS,
    ),
    Endpoint(
        "POST",
        "/users/{name}/tokens",
        tokens.create,
        "Make a token",
        "`tokens`; or `auth` with the name and password of whoever asks",
        (
            Answer(201, "The token, with its secret this once.", NewTokenModel),
            Answer(429, "Too many logins wait to be checked.", ErrorModel),
        ),
        "Not idempotent: each call makes another token. A token can make no token that may do more than itself. With a login, "
        "a token for more than one's own things needs the password in `auth`, too.",
        body=tokens.NewToken,
        asker=Asker.SELF_CHECKED,
        topic=TOKENS,
    ),
    Endpoint(
        "GET",
        "/users/{name}/tokens/{id}",
        tokens.show,
        "One token",
        "`read:tokens`",
        (Answer(200, "Without its secret.", TokenModel),),
        topic=TOKENS,
    ),
    Endpoint(
        "DELETE",
        "/users/{name}/tokens/{id}",
        tokens.revoke,
        "End a token",
        "`tokens`",
        (Answer(204, "It has ended, and so have the connections that it opened."),),
        "Doing it again is 404 and changes nothing.",
        topic=TOKENS,
    ),
    Endpoint(
        "GET",
        "/groups",
        admin.groups,
        "Unix groups of the users whom the hub knows",
        "`list:groups`; their members with `read:groups`",
        (Answer(200, "Group models; paginated if asked for.", list[GroupModel] | PageModel[GroupModel]),),
        "Read only. At most a minute old.",
        query=Paged,
        topic=GROUPS,
    ),
    Endpoint(
        "GET",
        "/groups/{group}",
        admin.group,
        "One Unix group",
        "`read:groups`",
        (Answer(200, "With those of its members whom the hub knows.", GroupModel),),
        topic=GROUPS,
    ),
)
