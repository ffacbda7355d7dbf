from dataclasses import dataclass

effects: list = []


@dataclass
class AnalysisRow:
    id: str
    tenantId: str
    organizationId: str
    media: str
    status: str = "new"
    error: str = ""


rows: dict[str, AnalysisRow] = {}
