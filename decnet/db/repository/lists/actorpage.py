"""Repository, part actor page: one attacker with all that its page tells; one call, whatever it did."""

from __future__ import annotations

from decnet.db.repository.attribution.alerts import AlertsMixin
from decnet.db.repository.lists.amounts import AmountsMixin
from decnet.db.repository.lists.campaigns import CampaignsMixin
from decnet.db.repository.lists.evidence import EvidenceMixin
from decnet.db.repository.lists.linked import LinkedMixin
from decnet.db.repository.lists.struck import StruckMixin
from decnet.db.repository.lists.told import ToldMixin
from decnet.db.repository.notes import NotesMixin
from decnet.db.repository.recorder.attackers import AttackersMixin
from decnet.db.rows.actorpage import ActorPage
from decnet.db.rows.attribution import OPEN
from decnet.db.rows.notes import SOURCE


class ActorPageMixin(
    AlertsMixin,
    AttackersMixin,
    ToldMixin,
    LinkedMixin,
    CampaignsMixin,
    NotesMixin,
    AmountsMixin,
    EvidenceMixin,
    StruckMixin,
):
    """What other parts know of one attacker, together; read only."""

    async def actor_page(self, attacker: str, *, sessions: int, clear: bool = False) -> ActorPage | None:
        """One attacker by its address or id, None for one that is not stored; at most so many of its sessions, the newest.

        Ignored ones are told, too. Log-ins in clear text only with ``clear``.
        """
        rows = await self.list_attackers(attacker=attacker, limit=1, ignored=True)
        if not rows:
            return None
        uuid, identity = rows[0]["attacker_uuid"], rows[0]["identity_uuid"]
        newest = await self.list_sessions(attacker=uuid, limit=sessions, ignored=True)
        alerts = await self.list_alerts(state=OPEN, attacker=uuid, limit=1, ignored=True)
        return {
            "attacker": rows[0],
            "told": (await self.attackers_told([uuid], ignored=True)).get(uuid),
            "identity": await self.get_identity(identity) if identity else None,
            "members": await self.members_seen(identity) if identity else [],
            "campaigns": (await self.campaigns_by_attacker([uuid])).get(uuid, []),
            "sessions": newest,
            "recorded": await self.recorded(one["session_id"] for one in newest),
            "alerts": [alert["alert_id"] for alert in alerts],
            "amounts": await self.amounts_of(uuid, clear=clear),
            "struck": await self.struck_by(uuid),
            "notes": await self.notes_of(SOURCE, uuid),
        }
