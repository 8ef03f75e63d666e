"""The columns of a raw claim, the header of the real file, and the words each column may hold.

`HEADER` maps the file's column names to ours, in the order in which we keep them. The words are
those of the real file, its spelling included; the simulator speaks the same ones.
"""

from __future__ import annotations

import polars as pl

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

MAKES = (
    "Pontiac", "Toyota", "Honda", "Mazda", "Chevrolet", "Accura", "Ford", "VW", "Saab", "Dodge",
    "Mercury", "Saturn", "Nisson", "BMW", "Jaguar", "Porche", "Mecedes", "Ferrari", "Lexus",
)  # fmt: skip
AREAS = ("Urban", "Rural")
FAULTS = ("Policy Holder", "Third Party")
CATEGORIES = ("Sedan", "Sport", "Utility")
BASES = ("Collision", "Liability", "All Perils")
AGENTS = ("External", "Internal")
PRICES = (
    "less than 20000", "20000 to 29000", "30000 to 39000", "40000 to 59000", "60000 to 69000",
    "more than 69000",
)  # fmt: skip
AGE_GROUPS = (
    "16 to 17", "18 to 20", "21 to 25", "26 to 30", "31 to 35", "36 to 40", "41 to 50", "51 to 65",
    "over 65",
)  # fmt: skip
PROTECTED = ("sex", "age", "age_group", "marital_status")

HEADER = {
    "PolicyNumber": "claim_id",
    "Make": "make",
    "AccidentArea": "accident_area",
    "Fault": "fault",
    "PolicyType": "policy_type",
    "VehicleCategory": "vehicle_category",
    "VehiclePrice": "vehicle_price",
    "BasePolicy": "base_policy",
    "AgentType": "agent_type",
    "DayOfWeek": "day_of_week",
    "Month": "month",
    "WeekOfMonth": "week_of_month",
    "DayOfWeekClaimed": "day_of_week_claimed",
    "MonthClaimed": "month_claimed",
    "WeekOfMonthClaimed": "week_of_month_claimed",
    "PoliceReportFiled": "police_report",
    "WitnessPresent": "witness",
    "RepNumber": "rep_number",
    "Deductible": "deductible",
    "DriverRating": "driver_rating",
    "Days_Policy_Accident": "days_policy_accident",
    "Days_Policy_Claim": "days_policy_claim",
    "PastNumberOfClaims": "past_claims",
    "AgeOfVehicle": "vehicle_age",
    "NumberOfSuppliments": "supplements",
    "AddressChange_Claim": "address_change",
    "NumberOfCars": "cars",
    "Year": "year",
    "Sex": "sex",
    "Age": "age",
    "AgeOfPolicyHolder": "age_group",
    "MaritalStatus": "marital_status",
}
LABEL = "FraudFound_P"

INTEGERS = (
    "claim_id", "week_of_month", "week_of_month_claimed", "rep_number", "deductible",
    "driver_rating", "year", "age",
)  # fmt: skip
TIME = pl.Datetime("us")
_FACTS: dict[str, pl.DataType] = {
    name: pl.Int64() if name in INTEGERS else pl.String() for name in HEADER.values()
}
EVENTS = pl.Schema({"claim_id": pl.Int64(), "event_time": TIME, "known_at": TIME} | _FACTS)
LABELS = pl.Schema({"claim_id": pl.Int64(), "label": pl.Int8(), "known_at": TIME})
